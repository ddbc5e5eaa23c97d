import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fromUtf8, toHex, type Bytes } from '../../src/bytes.ts';
import { silentLog, type Log } from '../../src/platform.ts';
import {
  decodeFrame,
  partySet,
  type CeremonyView,
  type Entry,
  type PartySet,
} from '../../src/rounds/index.ts';
import { abortCeremony } from '../../src/rounds/operator.ts';
import type { OutboxRow } from '../../src/store/rows.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { entries, entriesUnder } from '../../plugins/threshold-bls/ceremonies.ts';
import { publicKeyOf, sharingOf } from '../../plugins/threshold-bls/key-share.ts';
import { keygen } from '../../plugins/threshold-bls/keygen.ts';
import { verify } from '../../plugins/threshold-bls/math/signing.ts';
import { config, signingPolicy, type Rule } from '../../plugins/threshold-bls/policy.ts';
import { sharesOf } from '../../plugins/threshold-bls/shares.ts';
import { sign, type Signed } from '../../plugins/threshold-bls/sign.ts';
import { exchange, payloadOf, RoundsMember } from '../support/rounds-member.ts';

const NO_KEY = 'ab'.repeat(96);

/** Otherwise than all goes well, between these two. */
interface Bent {
  readonly drop?: (from: RoundsMember, row: OutboxRow) => boolean;
  readonly signers?: readonly RoundsMember[];
  readonly threshold?: number;
}

/** A partial signature: where they are lost, both wait. */
function isPartial(_: RoundsMember, row: OutboxRow): boolean {
  return decodeFrame(payloadOf(row)).kind === 'message';
}

describe('the signing policy', () => {
  let clock: ManualClock;
  let proposer: RoundsMember;
  let signer: RoundsMember;
  let other: RoundsMember;
  let members: RoundsMember[];
  let parties: PartySet;
  let publicKey: Bytes;
  let invited: Entry['invited'];
  let logged: string[];
  let stamps = 0;
  let log: Log;

  beforeEach(async () => {
    clock = new ManualClock();
    invited = undefined;
    logged = [];
    log = {
      ...silentLog,
      warn: (fields) => {
        logged.push(String((fields as { why?: string }).why));
      },
    };
    const late: NonNullable<Entry['invited']> = (...proposed) => invited?.(...proposed);
    proposer = await RoundsMember.start(clock, entries());
    signer = await RoundsMember.start(clock, entriesUnder(late));
    other = await RoundsMember.start(clock, entries());
    members = [proposer, signer, other];
    for (const member of members)
      for (const another of members) if (another !== member) await member.verify(another);
    for (const member of members) await member.sent();
    parties = partySet(members.map(({ party }) => party));
    publicKey = await generate();
    expect(publicKey).toHaveLength(96);
  }, 60_000);

  afterEach(async () => {
    await Promise.all(members.map((member) => member.stop()));
  });

  /** The key of one more generation, as the proposer has it. */
  async function generate(drop?: Bent['drop']): Promise<Bytes> {
    const request = { protocol: keygen.name, params: { threshold: 1 }, input: undefined, parties };
    let topic = '';
    for (const { rounds } of members) topic = await rounds.open(request);
    await exchange(members, drop);
    return (await proposer.host.update(({ volatile }) => volatile.get(`key-of/${topic}`))) ?? fromUtf8('');
  }

  function allow(rule: Partial<Rule> = {}): void {
    const whole = { keys: [toHex(publicKey)], proposers: [proposer.peer.aci], ...rule };
    invited = signingPolicy(config.parse({ sign: [whole] }).sign, { clock, log });
  }

  function indexOf(member: RoundsMember): number {
    return parties.find(({ aci }) => aci === member.peer.aci)?.index ?? 0;
  }

  /** The operator of one party asks for a signature with the signer; nobody else does anything. */
  async function propose(
    message: string,
    by = proposer,
    { drop = () => false, signers = [by, signer], threshold = 1 }: Bent = {},
  ): Promise<CeremonyView | undefined> {
    const [held] = await by.host.update((tx) => sharesOf(tx, toHex(publicKey)));
    if (held === undefined) throw new Error('there is no share');
    expect(publicKeyOf(held.share)).toEqual(publicKey);
    const topic = await by.rounds.open({
      protocol: sign.name,
      params: { threshold, publicKey, sharing: sharingOf(held.share) },
      input: held.share,
      parties,
      signers: signers.map(indexOf),
      message: fromUtf8(message),
      epoch: held.share.epoch,
    });
    await exchange(members, drop);
    return by.rounds.show(topic);
  }

  function isSigned(view: CeremonyView | undefined, message: string): boolean {
    if (view?.state !== 'done') return false;
    return verify(publicKey, (view.output as Signed).signature, fromUtf8(message));
  }

  async function openAtSigner(): Promise<number> {
    return (await signer.rounds.list()).filter(({ protocol }) => protocol.startsWith(sign.name)).length;
  }

  it('signs nothing by itself where there is none', async () => {
    invited = signingPolicy(config.parse({}).sign, { clock, log });
    expect(await propose('pay 3')).toMatchObject({
      state: 'gathering',
      waitingFor: [{ index: indexOf(signer) }],
    });
    expect(await openAtSigner()).toBe(0);
    expect(logged).toEqual([]);
  });

  it('signs what fits, without an operator', async () => {
    allow({ prefix: 'pay ', maxBytes: 5 });
    expect(isSigned(await propose('pay 3'), 'pay 3')).toBe(true);
    expect(logged).toEqual([]);
  });

  it.each([
    ['of another key', { keys: [NO_KEY] }, 'no rule for this key'],
    ['that begins otherwise', { prefix: 'pay: ' }, 'the message begins otherwise'],
    ['that only goes on as it must begin', { prefix: '3' }, 'the message begins otherwise'],
    ['that is shorter than it must begin', { prefix: 'pay 3 to nobody' }, 'the message begins otherwise'],
    ['that is too long', { maxBytes: 4 }, 'the message is longer than 4 bytes'],
  ])('leaves alone a message %s, and logs it once', async (_, rule, why) => {
    allow(rule);
    expect((await propose('pay 3'))?.state).toBe('gathering');
    for (let i = 0; i < 4; i++) {
      await clock.advance(20_000); // it is proposed again and again
      await exchange(members);
    }
    expect(await openAtSigner()).toBe(0);
    expect(logged).toEqual([why]);
  });

  it('leaves alone who may not propose, also after somebody else may', async () => {
    allow();
    expect((await propose('pay 3', other))?.state).toBe('gathering');
    expect(logged).toEqual(['no rule for this proposer']);
    expect(isSigned(await propose('pay 3'), 'pay 3')).toBe(true);
  });

  it('signs so often within an hour and no more, whatever was proposed', async () => {
    allow({ perHour: 2 });
    for (const message of ['one', 'two']) expect(isSigned(await propose(message), message)).toBe(true);
    expect((await propose('three'))?.state).toBe('gathering');
    expect(logged).toEqual(['as many messages were signed within an hour as the policy allows']);
    await clock.advance(3_600_000);
    expect(isSigned(await propose('four'), 'four')).toBe(true);
  });

  it.each([
    ['a command', (topic: string) => signer.rounds.abort(topic)],
    ['its rows', (topic: string) => abortCeremony({ store: signer.peer.store, now: () => clock.now(), stamp: () => clock.now() + ++stamps }, topic, 'the amount is wrong')], // prettier-ignore
  ])('does not sign what the operator has ended by %s, though it is proposed again', async (_, end) => {
    allow();
    const topic = (await propose('pay 3', proposer, { drop: isPartial }))?.topic ?? '';
    expect(await openAtSigner()).toBe(1);
    await end(topic);
    await exchange(members);
    for (let i = 0; i < 3; i++) expect(isSigned(await propose('pay 3'), 'pay 3')).toBe(false);
    expect((await signer.rounds.show(topic))?.state).toBe('aborted');
    expect(isSigned(await propose('pay 4'), 'pay 4')).toBe(true);
    // Its operator can still ask for it.
    await clock.advance(60_000);
    const [held] = await signer.host.update((tx) => sharesOf(tx, toHex(publicKey)));
    if (held === undefined) throw new Error('there is no share');
    const params = { threshold: 1, publicKey, sharing: sharingOf(held.share) };
    const request = { protocol: sign.name, params, input: held.share, parties, message: fromUtf8('pay 3') };
    await signer.rounds.open({ ...request, signers: [proposer, signer].map(indexOf), epoch: 0 });
    expect(isSigned(await propose('pay 3'), 'pay 3')).toBe(true);
  });

  it('signs what was only given up because it was done otherwise', async () => {
    allow();
    const topic = (await propose('pay 3', proposer, { drop: isPartial }))?.topic ?? '';
    expect(await signer.rounds.abort(topic, 'it was done with another share', false)).toBe(true);
    await exchange(members);
    expect(isSigned(await propose('pay 3'), 'pay 3')).toBe(true);
  });

  it('counts no message whose ceremony was not opened', async () => {
    allow({ perHour: 1 });
    await signer.host.update(({ trust }) =>
      trust.identities.setState(other.peer.aci, { kind: 'revoke', key: other.key }),
    );
    for (let i = 0; i < 3; i++) {
      const refused = await propose(`pay ${String(i)}`, proposer, { signers: [proposer, signer, other] });
      expect(refused?.state).toBe('gathering');
    }
    expect(await openAtSigner()).toBe(0);
    expect(isSigned(await propose('pay 3'), 'pay 3')).toBe(true);
    expect((await propose('pay 4'))?.state).toBe('gathering');
  });

  it('signs with no share that not all have confirmed to this bot', async () => {
    const isLast = (from: RoundsMember, row: OutboxRow): boolean => {
      const frame = decodeFrame(payloadOf(row));
      return from === other && frame.kind === 'confirm' && frame.round === keygen.rounds.length;
    };
    publicKey = await generate((from, row) => row.recipient === signer.peer.aci && isLast(from, row));
    allow();
    expect((await propose('pay 3'))?.state).toBe('gathering');
    expect(logged).toHaveLength(1);
    await clock.advance(20_000); // the confirmation is asked for again
    await exchange(members);
    expect(isSigned(await propose('pay 4'), 'pay 4')).toBe(true);
  });

  it('leaves alone a proposal with another threshold than the key has, and does not count it', async () => {
    allow({ perHour: 1 });
    for (const threshold of [0, 2])
      expect((await propose('pay 3', proposer, { threshold, signers: members }))?.state).toBe('gathering');
    expect(await openAtSigner()).toBe(0);
    expect(new Set(logged)).toEqual(new Set(['the key has another threshold']));
    expect(isSigned(await propose('pay 3'), 'pay 3')).toBe(true);
  });

  it('signs a message again when it is proposed again', async () => {
    allow();
    for (let i = 0; i < 3; i++) expect(isSigned(await propose('pay 3'), 'pay 3')).toBe(true);
  });

  it('leaves alone a party set that is not the one of the key', async () => {
    allow();
    const stranger = await RoundsMember.start(clock, entries());
    members.push(stranger);
    for (const member of [proposer, signer]) await member.verify(stranger);
    const [held] = await proposer.host.update((tx) => sharesOf(tx, toHex(publicKey)));
    if (held === undefined) throw new Error('there is no share');
    const swapped = partySet([proposer, signer, stranger].map(({ party }) => party));
    const at = ({ peer }: RoundsMember): number => swapped.find(({ aci }) => aci === peer.aci)?.index ?? 0;
    await proposer.rounds.open({
      protocol: sign.name,
      params: { threshold: 1, publicKey, sharing: sharingOf(held.share) },
      input: held.share,
      parties: swapped,
      signers: [at(proposer), at(signer)],
      message: fromUtf8('pay 3'),
    });
    await exchange(members);
    expect(await openAtSigner()).toBe(0);
    expect(logged).toEqual(['there is no share here of that key, epoch and party set']);
  });

  it.each([
    [{ sign: [{ keys: [], proposers: ['8c78cd2a-16ff-427d-83dc-1a5e36ce713d'] }] }],
    [{ sign: [{ keys: [NO_KEY], proposers: [] }] }],
    [{ sign: [{ keys: ['ff'], proposers: ['8c78cd2a-16ff-427d-83dc-1a5e36ce713d'] }] }],
    [{ sign: [{ keys: [NO_KEY], proposers: ['everybody'] }] }],
    [{ sign: [{ keys: [NO_KEY], proposers: ['8c78cd2a-16ff-427d-83dc-1a5e36ce713d'], size: 3 }] }],
    [{ sgin: [] }],
  ])('is refused as %j', (wrong) => {
    expect(config.safeParse(wrong).success).toBe(false);
  });
});
