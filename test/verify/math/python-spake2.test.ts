/**
 * Suite 2 against python-spake2 itself, as the Python registry has it. Where there is no Python, or no registry, the tests
 * are skipped and say why.
 */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { finishRole, finishSymmetric, startSuite2, type Side } from '../../../plugins/verify/math/suite2.ts';
import { fromHex, toHex, type Bytes } from '../../../src/bytes.ts';

const VERSION = '0.9';
const folder = mkdtempSync(join(tmpdir(), 'countersign-spake2-'));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Why there is nothing to run against; undefined when there is. */
const missing = install();

function install(): string | undefined {
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--target', folder];
  try {
    execFileSync('python3', [...pip, `spake2==${VERSION}`], { stdio: 'pipe', timeout: 60_000 });
    return undefined;
  } catch (error) {
    const { code, stderr } = error as NodeJS.ErrnoException & { stderr?: Buffer };
    const said = (stderr?.toString() ?? '').trim().split('\n').at(-1) ?? '';
    const reason = code === 'ENOENT' ? 'there is no python3' : `pip could not install spake2: ${said}`;
    process.stderr.write(`skipped, suite 2 against python-spake2: ${reason}\n`);
    return reason;
  }
}

/** For each row the share of a fresh object, and its key for the peer's share or the name of the error. */
const SCRIPT = `
import json, sys
from spake2 import SPAKE2_A, SPAKE2_B, SPAKE2_Symmetric
h = bytes.fromhex
answers = []
for r in json.load(sys.stdin):
    if r["side"] == "S":
        s = SPAKE2_Symmetric(h(r["password"]), idSymmetric=h(r["idA"]))
    else:
        role = SPAKE2_A if r["side"] == "A" else SPAKE2_B
        s = role(h(r["password"]), idA=h(r["idA"]), idB=h(r["idB"]))
    share = s.start()
    try:
        key = s.finish(h(r["share"])).hex()
    except Exception as error:
        key = type(error).__name__
    answers.append({"share": share.hex(), "key": key})
print(json.dumps(answers))
`;

interface Question {
  /** python's side. */
  readonly side: Side;
  readonly password: string;
  readonly idA: string;
  readonly idB: string;
  readonly share: string;
}

interface Answer {
  readonly share: string;
  readonly key: string;
}

function ask(questions: readonly Question[]): Answer[] {
  const env = { ...process.env, PYTHONPATH: folder };
  const input = JSON.stringify(questions);
  return JSON.parse(execFileSync('python3', ['-c', SCRIPT], { env, input }).toString()) as Answer[];
}

const random = { bytes: (length: number): Bytes => new Uint8Array(randomBytes(length)) };
const hex = (length: number): string => toHex(random.bytes(length));
const title = missing === undefined ? VERSION : `skipped: ${missing}`;

describe.skipIf(missing !== undefined)(`against python-spake2 (${title})`, { timeout: 60_000 }, () => {
  const rows = Array.from({ length: 20 }, (_, i) => ({
    password: hex(i % 7),
    idA: hex((3 * i) % 20),
    idB: hex((5 * i) % 20),
  }));

  it('V-8: both sides of the symmetric mode have one key', () => {
    const own = rows.map(({ password }) => startSuite2('S', fromHex(password), random));
    const questions = rows.map((row, i) => ({ ...row, side: 'S', share: shareAt(own, i) }) as const);
    const answers = ask(questions);
    expect(answers).toHaveLength(rows.length);
    for (const [i, { share, key }] of answers.entries()) {
      const mine = finishSymmetric({ ...exchange(i, share), id: fromHex(rows[i]?.idA ?? '') });
      expect(mine).toEqual(fromHex(key));
    }

    function exchange(i: number, share: string): Parts {
      return parts(rows[i], own[i], share);
    }
  });

  it.each([
    ['A', 'B'],
    ['B', 'A'],
  ] as const)('V-8: role %s here and role %s there have one key', (here, there) => {
    const own = rows.map(({ password }) => startSuite2(here, fromHex(password), random));
    const questions = rows.map((row, i) => ({ ...row, side: there, share: shareAt(own, i) }));
    const answers = ask(questions);
    expect(answers).toHaveLength(rows.length);
    for (const [i, { share, key }] of answers.entries()) {
      const ids = { idA: fromHex(rows[i]?.idA ?? ''), idB: fromHex(rows[i]?.idB ?? '') };
      expect(finishRole(here, { ...parts(rows[i], own[i], share), ...ids })).toEqual(fromHex(key));
    }
  });

  it('V-8: another password gives another key', () => {
    const own = startSuite2('S', fromHex('01'), random);
    const question = { side: 'S', password: '02', idA: '', idB: '', share: toHex(own.share) } as const;
    const [answer] = ask([question]);
    const mine = finishSymmetric({ ...parts({ password: '01' }, own, answer?.share ?? ''), id: fromHex('') });
    expect(mine).toHaveLength(32);
    expect(mine).not.toEqual(fromHex(answer?.key ?? ''));
  });
});

interface Parts {
  readonly password: Bytes;
  readonly own: ReturnType<typeof startSuite2>;
  readonly peerShare: Bytes;
}

function parts(
  row: { readonly password: string } | undefined,
  own: Parts['own'] | undefined,
  share: string,
): Parts {
  if (row === undefined || own === undefined) throw new Error('more answers than questions');
  return { password: fromHex(row.password), own, peerShare: fromHex(share) };
}

function shareAt(own: readonly Parts['own'][], i: number): string {
  return toHex(own[i]?.share ?? new Uint8Array(0));
}
