/**
 * Rows: the introductions that we have got and given, in the plugin's state.
 *
 *   introductions/got/INTRODUCER/ID    what an introducer says, or has revoked; kept until its `not after`
 *   introductions/by/INTRODUCER        [ID, …] of them
 *   introductions/about/SUBJECT        ["INTRODUCER/ID", …], the same by whom it is about
 *   introductions/given/SUBJECT/ID     what we have said of a contact, and to whom
 *   introductions/of/SUBJECT           [ID, …] of them
 *
 * ID is 32 hex digits. The lists are read and not scanned for: so a change sees what was staged on its own batch before,
 * and conflicts with what another one adds meanwhile. Statements are kept whole, as they came.
 * Spec: verification brief, section 10, V-39.
 */
import { z } from 'zod';
import type { Aci, Transaction } from '../../../src/index.ts';
import { decodeStatement, type Signed } from './statement.ts';

type State = Transaction['state'];

/** A statement of an introducer. */
export interface Got {
  readonly signed: Signed;
  /** As it came. */
  readonly bytes: Uint8Array;
  /** ms, by our clock. */
  readonly receivedAt: number;
  /** ms; undefined while it holds. A revocation that came before its introduction is a row of its own. */
  readonly revokedAt: number | undefined;
  /** ms; when the row can go. */
  readonly until: number;
}

/** A statement of ours. */
export interface Given {
  readonly signed: Signed;
  /** As it went. */
  readonly bytes: Uint8Array;
  /** Who has got it. */
  readonly to: readonly Aci[];
  /** ms; undefined while it holds. */
  readonly revokedAt: number | undefined;
}

const GOT = 'introductions/got/';
const BY = 'introductions/by/';
const ABOUT = 'introductions/about/';
const GIVEN = 'introductions/given/';
const OF = 'introductions/of/';

const ms = z.int().min(0);
const base64 = z.base64().transform((text) => new Uint8Array(Buffer.from(text, 'base64')));
const common = { version: z.literal(1), statement: base64, revokedAt: ms.nullable() };
const gotRow = z.object({ ...common, receivedAt: ms, until: ms });
const givenRow = z.object({ ...common, to: z.array(z.string().transform((text) => text as Aci)) });
const listRow = z.array(z.string()).catch([]);

/** 32 hex digits. */
export function idOf({ statement: { id } }: Pick<Signed, 'statement'>): string {
  return Buffer.from(id).toString('hex');
}

export async function getGot(state: State, introducer: Aci, id: string): Promise<Got | undefined> {
  return readGot(await state.get(`${GOT}${introducer}/${id}`));
}

export async function putGot(state: State, got: Got): Promise<void> {
  const { introducer, subject } = got.signed.statement;
  const id = idOf(got.signed);
  const { receivedAt, until, revokedAt = null } = got;
  const row = { version: 1, statement: textOf(got.bytes), receivedAt, revokedAt, until };
  state.putJson(`${GOT}${introducer}/${id}`, row);
  await addTo(state, `${BY}${introducer}`, id);
  await addTo(state, `${ABOUT}${subject}`, `${introducer}/${id}`);
}

export async function deleteGot(state: State, { signed }: Got): Promise<void> {
  const { introducer, subject } = signed.statement;
  const id = idOf(signed);
  state.delete(`${GOT}${introducer}/${id}`);
  await takeFrom(state, `${BY}${introducer}`, id);
  await takeFrom(state, `${ABOUT}${subject}`, `${introducer}/${id}`);
}

/** All that an introducer has said, oldest first. */
export async function gotBy(state: State, introducer: Aci): Promise<Got[]> {
  const ids = await listOf(state, `${BY}${introducer}`);
  return presentOf(ids.map((id) => getGot(state, introducer, id)));
}

/** All that is said of a contact, oldest first. */
export async function gotAbout(state: State, subject: Aci): Promise<Got[]> {
  const entries = await listOf(state, `${ABOUT}${subject}`);
  return presentOf(
    entries.map((entry) => {
      const [introducer = '', id = ''] = entry.split('/');
      return getGot(state, introducer as Aci, id);
    }),
  );
}

/** Everything that we were told, as it is stored: for lists, and to look for what has expired. */
export async function allGot(state: State): Promise<Got[]> {
  const found: Got[] = [];
  for await (const [, bytes] of state.scan(GOT)) {
    const got = readGot(bytes);
    if (got !== undefined) found.push(got);
  }
  return found;
}

export async function putGiven(state: State, given: Given): Promise<void> {
  const { subject } = given.signed.statement;
  const id = idOf(given.signed);
  const { to, revokedAt = null } = given;
  state.putJson(`${GIVEN}${subject}/${id}`, { version: 1, statement: textOf(given.bytes), to, revokedAt });
  await addTo(state, `${OF}${subject}`, id);
}

export async function deleteGiven(state: State, { signed }: Given): Promise<void> {
  const { subject } = signed.statement;
  state.delete(`${GIVEN}${subject}/${idOf(signed)}`);
  await takeFrom(state, `${OF}${subject}`, idOf(signed));
}

/** What we have said of a contact, oldest first. */
export async function givenOf(state: State, subject: Aci): Promise<Given[]> {
  const ids = await listOf(state, `${OF}${subject}`);
  return presentOf(ids.map(async (id) => readGiven(await state.get(`${GIVEN}${subject}/${id}`))));
}

/** Everything that we have said, as it is stored. */
export async function allGiven(state: State): Promise<Given[]> {
  const found: Given[] = [];
  for await (const [, bytes] of state.scan(GIVEN)) {
    const given = readGiven(bytes);
    if (given !== undefined) found.push(given);
  }
  return found;
}

async function listOf(state: State, key: string): Promise<readonly string[]> {
  return (await state.getJson(key, listRow)) ?? [];
}

async function addTo(state: State, key: string, entry: string): Promise<void> {
  const list = await listOf(state, key);
  if (!list.includes(entry)) state.putJson(key, [...list, entry]);
}

async function takeFrom(state: State, key: string, entry: string): Promise<void> {
  const list = await listOf(state, key);
  const left = list.filter((other) => other !== entry);
  if (left.length === 0) state.delete(key);
  else if (left.length < list.length) state.putJson(key, left);
}

async function presentOf<T>(rows: readonly Promise<T | undefined>[]): Promise<T[]> {
  return (await Promise.all(rows)).filter((row) => row !== undefined);
}

/** A row that cannot be read is none: nothing is trusted for it. */
function readGot(row: Uint8Array | undefined): Got | undefined {
  const { data } = gotRow.safeParse(jsonOf(row));
  const signed = data && decodeStatement(data.statement);
  if (data === undefined || signed === undefined) return undefined;
  const { statement: bytes, receivedAt, revokedAt, until } = data;
  return { signed, bytes, receivedAt, revokedAt: revokedAt ?? undefined, until };
}

function readGiven(row: Uint8Array | undefined): Given | undefined {
  const { data } = givenRow.safeParse(jsonOf(row));
  const signed = data && decodeStatement(data.statement);
  if (data === undefined || signed === undefined) return undefined;
  return { signed, bytes: data.statement, to: data.to, revokedAt: data.revokedAt ?? undefined };
}

function jsonOf(row: Uint8Array | undefined): unknown {
  try {
    return row === undefined ? undefined : (JSON.parse(new TextDecoder().decode(row)) as unknown);
  } catch {
    return undefined;
  }
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
