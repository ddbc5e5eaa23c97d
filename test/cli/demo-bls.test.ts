import { mkdtempSync, readdirSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { fromHex, fromUtf8 } from '../../src/bytes.ts';
import { loadPairing } from '../../src/cli/demo-pairing.ts';
import { main } from '../../src/cli/main.ts';
import { BotError } from '../../src/errors.ts';
import { verify } from '../../plugins/threshold-bls/math/signing.ts';
import { memoryIo } from '../support/memory-io.ts';

describe('demo --bls', { timeout: 240_000 }, () => {
  it('prints a line for each of two signatures, and each verifies', async () => {
    const io = memoryIo();
    const code = await main(['demo', '--bls', '--json'], io);
    expect(io.err()).toBe('');
    expect(code).toBe(0);
    const lines = io.lines() as {
      publicKey: string;
      signature: string;
      message: string;
      signers: number[];
    }[];
    expect(lines.map((line) => Object.keys(line).sort())).toEqual(
      Array(2).fill(['message', 'publicKey', 'signature', 'signers']),
    );
    expect(new Set(lines.map(({ publicKey }) => publicKey)).size).toBe(1);
    expect(new Set(lines.map(({ signers }) => signers.join())).size).toBe(2);
    const byPairing = await loadPairing();
    for (const { publicKey, signature, message, signers } of lines) {
      expect(signers).toHaveLength(2);
      const signed = [fromHex(publicKey), fromHex(signature), fromUtf8(message)] as const;
      expect([verify(...signed), byPairing(...signed)]).toEqual([true, true]);
    }
  });

  it('tells people of a kill, a cheat who is named, and the checks', async () => {
    const io = memoryIo();
    expect(await main(['demo', '--bls'], io)).toBe(0);
    const text = io.out();
    for (const part of [
      /Carol's process is killed \(SIGKILL\)/,
      /Carol's bot is back as process \d+/,
      /Its public key:\n[0-9a-f]{192}\n/,
      /told who it was: party \d, Carol, sent a partial signature that does not hold/,
    ])
      expect(text).toMatch(part);
    expect(text.match(/sign "pay \d to Dora":\n[0-9a-f]{96}\n/g)).toHaveLength(2);
    expect(text.match(/Verified by pairing with mcl/g)).toHaveLength(2);
  });

  it('leaves nothing behind when it is stopped before its bots are online', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'demo-bls-test-'));
    vi.stubEnv('TMPDIR', folder);
    const io = memoryIo();
    const code = main(['demo', '--bls'], io);
    await expect.poll(() => io.out(), { timeout: 60_000 }).toContain("Anna's bot is linked");
    io.stop.abort(new BotError('INTERRUPTED', 'stopped'));
    expect(await code).toBe(1);
    expect(io.err()).not.toContain('INTERNAL');
    vi.unstubAllEnvs();
    const left = readdirSync(folder);
    expect(left.filter((name) => name.includes('demo'))).toEqual([]);
    // The server's folder goes with this process, and is elsewhere where another test has started one before.
    if (left.length === 0) rmdirSync(folder);
  });

  it('is one demo at a time', async () => {
    expect(await main(['demo', '--bls', '--attack', '--json'], memoryIo())).toBe(2);
  });
});
