/**
 * `countersign bls keygen | sign | refresh | export | verify`: the operator of every party runs the same command; the
 * ceremony begins once all have. (`bls keys | forget`: key-commands.ts)
 */
import { rm, stat } from 'node:fs/promises';
import { BotError, type Subcommand, type SubcommandCall } from '../../src/index.ts';
import type { Handle } from './ceremonies.ts';
import { fileOf, hexOf, localKey, newFile, newOrLeftFile, numberOf, readNamed } from './given.ts';
import { MAX_MESSAGE } from './input.ts';
import { keyCommands } from './key-commands.ts';
import { toHex } from './key-share.ts';
import { PUBLIC_KEY_SIZE, SIGNATURE_SIZE } from './math/curve.ts';
import { verify as isValid } from './math/signing.ts';

const GROUP = { '--group <file>': 'the parties: what `countersign me --json` prints at each, one line each' };
const LOCAL_KEY = { '--local-key <file>': 'what keygen has written' };
const WAIT = { '--wait <seconds>': 'how long the others are waited for (600; at most 86400)' };
const MESSAGE = { '--message <text>': 'what was or is signed', '--file <file>': 'the same, as a file' };
const AT = '--data ./data --server server.json';

export const blsCommands: readonly Subcommand[] = [
  {
    name: 'bls keygen',
    description: 'make a key of which any t + 1 parties can sign, and which none of them ever holds',
    options: {
      '-t, --threshold <number>': 't: one less than the signers that are needed; at least 1',
      '-n, --parties <number>': 'n: how many lines the group has; above t, at most 64',
      ...GROUP,
      '-o, --out <file>': 'where to write the handle of the key, without secrets',
      ...WAIT,
    },
    shares: 'account',
    examples: [`bls keygen -t 1 -n 3 --group group.json -o local-key.json ${AT}`],
    run: keygen,
  },
  {
    name: 'bls sign',
    description: 'sign with the other parties of a group: at least t + 1, this one among them',
    options: { ...LOCAL_KEY, ...GROUP, ...MESSAGE, ...WAIT },
    shares: 'account',
    examples: [`bls sign --local-key local-key.json --group signers.json --message "pay 3" ${AT}`],
    run: sign,
  },
  {
    name: 'bls refresh',
    description: 'make new shares of the same key at all its parties, and old ones worthless',
    options: { ...LOCAL_KEY, ...GROUP, ...WAIT },
    shares: 'account',
    examples: [`bls refresh --local-key local-key.json --group group.json ${AT}`],
    run: refresh,
  },
  {
    name: 'bls export',
    description: 'write the share of a key to a file: whoever has t + 1 of them has the key',
    options: { ...LOCAL_KEY, '-o, --out <file>': 'where to write it; nobody else can read it (0600)' },
    shares: 'account',
    examples: [`bls export --local-key local-key.json -o share.json ${AT}`],
    run: exportShare,
  },
  ...keyCommands,
  {
    name: 'bls verify',
    description: 'verify a signature; needs no account',
    options: {
      '--public-key <hex>': '96 bytes',
      '--signature <hex>': '48 bytes',
      ...MESSAGE,
    },
    examples: ['bls verify --public-key 8f3c... --signature a91b... --message "pay 3"'],
    run: verify,
  },
];

async function keygen(call: SubcommandCall): Promise<void> {
  const [threshold, parties] = [numberOf(call, 'threshold'), numberOf(call, 'parties')];
  const out = fileOf(call, 'out');
  const input = { ...(await ceremonyInput(call)), threshold, parties };
  if (!(threshold >= 1 && threshold < parties && parties <= 64))
    throw new BotError(
      'USAGE',
      'the threshold is at least 1 and below the number of parties, which is at most 64',
    );
  // Before the ceremony: a key whose handle cannot be written would be hard to find again.
  const file = await newOrLeftFile(out);
  try {
    const handle = (await call.act('keygen', { input }, progress(call))) as Handle;
    await file.writeFile(`${JSON.stringify(handle)}\n`);
    const { publicKey } = handle;
    call.print(
      { publicKey, parties, threshold, share: out },
      () => `public key ${publicKey}\nhandle     ${out}`,
    );
  } catch (error) {
    await rm(out); // else the same command would find it there
    throw error;
  } finally {
    await file.close();
  }
}

async function sign(call: SubcommandCall): Promise<void> {
  const { publicKey } = await localKey(call);
  const message = toHex(await messageOf(call, MAX_MESSAGE));
  const input = { ...(await ceremonyInput(call)), publicKey, message };
  const signed = (await call.act('sign', { input }, progress(call))) as {
    signature: string;
    signers: number[];
  };
  call.print(signed, () => `signature ${signed.signature}\nof parties ${signed.signers.join(', ')}`);
}

async function refresh(call: SubcommandCall): Promise<void> {
  const { publicKey } = await localKey(call);
  const handle = await call.act(
    'refresh',
    { input: { ...(await ceremonyInput(call)), publicKey } },
    progress(call),
  );
  call.print(handle, () => 'the shares are new; the public key is the same');
}

async function exportShare(call: SubcommandCall): Promise<void> {
  const { publicKey } = await localKey(call);
  const out = fileOf(call, 'out');
  const share = await call.act('export', { input: { publicKey } });
  const file = await newFile(out);
  try {
    await file.writeFile(`${JSON.stringify(share)}\n`);
  } catch (error) {
    await rm(out); // half a share is none, and still secret
    throw error;
  } finally {
    await file.close();
  }
  call.print({ publicKey, share: out }, () => `the share is in ${out}`);
}

async function verify(call: SubcommandCall): Promise<void> {
  const publicKey = hexOf(call, 'publicKey', PUBLIC_KEY_SIZE);
  const signature = hexOf(call, 'signature', SIGNATURE_SIZE);
  const valid = isValid(publicKey, signature, await messageOf(call));
  call.print({ valid }, () => (valid ? 'the signature is valid' : 'the signature is not valid'));
  if (!valid) call.fail();
}

async function ceremonyInput(call: SubcommandCall): Promise<{ group: string; wait?: number }> {
  const group = (await readNamed(call, 'group')).toString();
  return call.options['wait'] === undefined ? { group } : { group, wait: numberOf(call, 'wait') };
}

/** @param maxBytes of a file that is longer not everything is read @throws BotError `USAGE`, `PAYLOAD_TOO_LARGE` */
async function messageOf(call: SubcommandCall, maxBytes = Infinity): Promise<Uint8Array> {
  const { message, file } = call.options;
  if ((message === undefined) === (file === undefined))
    throw new BotError('USAGE', 'give --message or --file');
  const size = typeof message === 'string' ? Buffer.byteLength(message) : await sizeOf(fileOf(call, 'file'));
  if (size > maxBytes)
    throw new BotError(
      'PAYLOAD_TOO_LARGE',
      `a message that is signed has at most ${String(maxBytes)} bytes`,
      {
        next: 'Sign its hash in its place.',
      },
    );
  return typeof message === 'string' ? new TextEncoder().encode(message) : readNamed(call, 'file');
}

/** 0 where there is none: whoever reads it says so. */
async function sizeOf(file: string): Promise<number> {
  return (await stat(file).catch(() => undefined))?.size ?? 0;
}

/** What happens meanwhile, for people. */
function progress(call: SubcommandCall): (event: object) => void {
  return (event) => {
    const { step, ceremony, party, reason, at, signature } = event as Partial<
      Record<'step' | 'ceremony' | 'reason' | 'signature', string> & Record<'party' | 'at', number>
    >;
    if (step === 'repeated') {
      const when = new Date(at ?? 0).toISOString();
      call.note(`this was signed at ${when}, and is signed again now: signature ${String(signature)}`);
    }
    if (step === 'untold') {
      const when = new Date(at ?? 0).toISOString();
      call.note(`this was done at ${when}, after its command had ended; run it again to have it done anew`);
    }
    if (step === 'waiting') {
      const id = ceremony?.slice(0, 12) ?? '';
      call.note(`ceremony ${id}: waiting for the other parties; each runs the same command`);
      call.note(`Ctrl-C leaves it open; countersign rounds abort ${id} ends it`);
    }
    if (step === 'blamed') call.note(`party ${String(party)} ${String(reason)}`);
  };
}
