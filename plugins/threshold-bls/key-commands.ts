/**
 * `countersign bls keys | forget`: the keys of which this device holds a share. Both read and write rows alone: no server is
 * asked, and no other party.
 */
import { BotError, type Subcommand, type SubcommandCall } from '../../src/index.ts';
import type { Handle } from './ceremonies.ts';
import { fileOf, hexOf, newOrLeftFile } from './given.ts';
import { toHex } from './key-share.ts';
import type { KeyLine } from './keys.ts';
import { PUBLIC_KEY_SIZE } from './math/curve.ts';

const AT = '--data ./data';
const PUBLIC_KEY = { '--public-key <hex>': 'this key alone: 96 bytes' };

export const keyCommands: readonly Subcommand[] = [
  {
    name: 'bls keys',
    description: 'the keys of which there is a share here, and the handle of one of them anew',
    options: { ...PUBLIC_KEY, '-o, --out <file>': 'where to write its handle, as keygen does' },
    shares: 'data',
    examples: [`bls keys ${AT}`, `bls keys --public-key 8f3c... -o local-key.json ${AT}`],
    run: keys,
  },
  {
    name: 'bls forget',
    description: 'forget the share of a key generation that has ended before all had confirmed theirs',
    options: { ...PUBLIC_KEY, '--yes': 'without asking' },
    shares: 'data',
    examples: [`bls forget --public-key 8f3c... ${AT}`],
    run: forget,
  },
];

async function keys(call: SubcommandCall): Promise<void> {
  const isNamed = call.options['publicKey'] !== undefined;
  const found = await linesOf(call, isNamed ? publicKeyIn(call) : undefined);
  if (call.options['out'] === undefined) {
    call.print({ keys: found }, () => found.map(textOf).join('\n') || 'no keys');
    return;
  }
  const [line] = found;
  if (!isNamed || line === undefined) throw new BotError('USAGE', '--out takes the key of --public-key');
  const { publicKey, parties, threshold } = line;
  const handle: Handle = { publicKey, parties, threshold };
  const out = fileOf(call, 'out');
  const file = await newOrLeftFile(out);
  try {
    await file.writeFile(`${JSON.stringify(handle)}\n`);
  } finally {
    await file.close();
  }
  call.print({ ...handle, share: out }, () => `handle     ${out}`);
}

async function forget(call: SubcommandCall): Promise<void> {
  const publicKey = publicKeyIn(call);
  if (call.options['yes'] !== true && !(await isSure(call, publicKey))) {
    call.note('Nothing is forgotten.');
    call.print({ publicKey, forgotten: false }, () => undefined);
    call.fail();
    return;
  }
  await call.act('forget', { input: { publicKey }, offline: true });
  call.print({ publicKey, forgotten: true }, () => `forgotten: ${publicKey}`);
}

/** @throws BotError `KEY_UNKNOWN`; `USAGE` where nobody can be asked */
async function isSure(call: SubcommandCall, publicKey: string): Promise<boolean> {
  const [line] = await linesOf(call, publicKey);
  if (!call.canPrompt)
    throw new BotError('USAGE', 'this asks, and nobody is here to answer', { next: 'Give --yes.' });
  if (line !== undefined) call.note(textOf(line));
  call.note('If other parties hold theirs, this one can never sign with them. Forget it? [y/N] ');
  return /^y(es)?$/i.test((await call.readLine()) ?? '');
}

async function linesOf(call: SubcommandCall, publicKey: string | undefined): Promise<readonly KeyLine[]> {
  const input = publicKey === undefined ? {} : { publicKey };
  return ((await call.act('keys', { input, offline: true })) as { keys: KeyLine[] }).keys;
}

function publicKeyIn(call: SubcommandCall): string {
  return toHex(hexOf(call, 'publicKey', PUBLIC_KEY_SIZE));
}

function textOf({ publicKey, threshold, parties, index, epoch, settled, shares, ceremony }: KeyLine): string {
  const older = shares.slice(1).map((share) => String(share.epoch));
  return [
    `public key ${publicKey}`,
    `           ${String(threshold + 1)} of ${String(parties)} sign; party ${String(index)} is here`,
    `           epoch ${String(epoch)}${older.length === 0 ? '' : `, and ${older.join(', ')} still`}${settled ? '' : '; not all parties have confirmed it'}`, // prettier-ignore
    `           made in ${ceremony.slice(0, 12)}`,
  ].join('\n');
}
