/** Several connections, of which one becomes the other side. */
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { Candidates, MAX_CANDIDATES } from '../../../plugins/verify/bare/candidates.ts';
import { MemoryGuesses } from '../../../plugins/verify/bare/ledger.ts';
import { listen } from '../../../plugins/verify/bare/links.ts';
import { overSocket } from '../../../plugins/verify/bare/streams.ts';
import { verifyOver, type VerifyOptions } from '../../../plugins/verify/bare/verify.ts';
import { decodeFrame, encodeFrame } from '../../../plugins/verify/messages/frame.ts';
import { systemPlatform } from '../../../src/platform.ts';
import { random } from '../support/party.ts';
import { codes, nodeSide, peers, spoken, talk, type Outcome } from './sides.ts';
import { wire, type Wire } from './wires.ts';

const AGREED = 'correct horse battery';
const { clock } = systemPlatform();

function waiting(parts: { speaksFirst?: boolean; takesOffers?: boolean } = {}): {
  candidates: Candidates;
  over: () => number;
} {
  let over = 0;
  const onOver = (): void => {
    over++;
  };
  const { speaksFirst = true, takesOffers = false } = parts;
  return { candidates: new Candidates({ speaksFirst, takesOffers, onOver }), over: () => over };
}

function run(
  duplex: Parameters<typeof verifyOver>[0],
  options: VerifyOptions,
  guesses?: MemoryGuesses,
): Promise<Outcome> {
  return verifyOver(duplex, nodeSide(clock, guesses), options).catch((error: unknown) => error as Error);
}

/** Dials: the left end is who dials. */
function dial(candidates: Candidates, middle?: Parameters<typeof wire>[0]): Wire {
  const joined = wire(middle);
  candidates.add(joined.right);
  return joined;
}

async function firstFrame({ left }: Wire): Promise<Uint8Array> {
  const next = await left.incoming.next();
  if (next.done === true) throw new Error('the connection has ended');
  return next.value;
}

describe('a side that makes the code', () => {
  it('gives its OFFER to all that connect, and verifies whoever answers it first', async () => {
    const { candidates, over } = waiting();
    const { create, code } = spoken();
    const early = dial(candidates);
    const listening = run(candidates, { create });
    expect(decodeFrame((await firstFrame(early)) as Uint8Array<ArrayBuffer>)?.body.type).toBe('offer');
    const joined = dial(candidates);
    const silent = dial(candidates);
    const dialling = run(joined.left, { code, side: 'dials' });
    expect(await talk(...peers([await listening, await dialling]))).toHaveLength(2);
    expect(over()).toBe(1);
    for (const { right } of [early, silent, dial(candidates)]) expect(right.isClosed).toBe(true);
  });

  it.each([
    [
      'speaks something else',
      (it: Wire) => {
        it.left.write(new TextEncoder().encode('GET / HTTP/1.1\r\n\r\n'));
      },
    ],
    [
      'goes again',
      (it: Wire) => {
        it.left.close();
      },
    ],
    [
      'breaks',
      (it: Wire) => {
        it.left.over();
        it.right.over();
      },
    ],
    [
      'answers to another run',
      (it: Wire) => {
        it.left.write(reply(new Uint8Array(16).fill(7)));
      },
    ],
    [
      'gives up',
      (it: Wire) => {
        it.left.write(
          encodeFrame({ suite: 1, runId: new Uint8Array(16), body: { type: 'abort', reason: 'declined' } }),
        );
      },
    ],
    [
      'begins a frame that never ends',
      (it: Wire) => {
        it.left.write(reply(new Uint8Array(16)).subarray(0, 40));
      },
    ],
  ])('is not ended by who %s, and charges nothing for it', async (_, stray) => {
    const { candidates } = waiting();
    const guesses = new MemoryGuesses(random);
    const { create, code } = spoken();
    const listening = run(candidates, { create }, guesses);
    for (let i = 0; i < 3; i++) {
      const joined = dial(candidates);
      await firstFrame(joined);
      stray(joined);
    }
    expect(guesses.counters.charges).toEqual([]);
    const dialling = run(dial(candidates).left, { code, side: 'dials' });
    peers([await listening, await dialling]);
    expect(candidates.isFound).toBe(true);
  });

  it('is not ended, nor charged, by a REPLY to its OFFER that is none', async () => {
    const { candidates } = waiting();
    const guesses = new MemoryGuesses(random);
    const { create, code } = spoken();
    const listening = run(candidates, { create }, guesses);
    const stray = dial(candidates);
    const runId = new Uint8Array(await firstFrame(stray)).slice(8, 24);
    const broken = reply(runId);
    broken[30] = 0xff;
    stray.left.write(broken);
    expect(await stray.left.incoming.next()).toMatchObject({ done: true });
    expect(guesses.counters.charges).toEqual([]);
    const dialling = run(dial(candidates).left, { code, side: 'dials' });
    peers([await listening, await dialling]);
  });

  it('charges one guess to whoever answers with a wrong code, and ends (V-22)', async () => {
    const { candidates } = waiting();
    const guesses = new MemoryGuesses(random);
    const listening = run(candidates, { create: spoken().create }, guesses);
    const dialling = run(dial(candidates).left, { code: spoken().code, side: 'dials' });
    expect(codes([await listening, await dialling])).toEqual(['CODE_REJECTED', 'CODE_REJECTED']);
    expect(guesses.counters.charges).toHaveLength(1);
  });

  it('keeps its code when it was mistyped elsewhere, with nobody there to type it again', async () => {
    const { candidates } = waiting();
    const { create, code } = spoken();
    const listening = run(candidates, { create });
    const mistyped = run(dial(candidates).left, {
      code: `${code.slice(0, -1)}${String((Number(code.at(-1)) + 1) % 10)}`,
      side: 'dials',
    });
    expect(codes([await mistyped])).toEqual(['CODE_MISTYPED']);
    const dialling = run(dial(candidates).left, { code, side: 'dials' });
    peers([await listening, await dialling]);
  });

  it('lets the one that came first go when too many wait', async () => {
    const { candidates } = waiting();
    const joined = Array.from({ length: MAX_CANDIDATES + 1 }, () => dial(candidates));
    expect(joined.map(({ right }) => right.isClosed)).toEqual(joined.map((_, i) => i === 0));
    await candidates.close();
    for (const { right } of joined) expect(right.isClosed).toBe(true);
  });

  it('keeps its code when the other side has made one too, and nobody could type that here', async () => {
    for (let i = 0; i < 4; i++) {
      const { candidates } = waiting();
      const { create, code } = spoken();
      const listening = run(candidates, { create });
      // Nobody there who could type ours either.
      const both = run(dial(candidates).left, { create: spoken().create, side: 'dials' });
      expect(codes([await both])).toEqual(['VERIFY_SUPERSEDED']);
      // Somebody who can.
      const asked = { create: spoken().create, code: () => Promise.resolve(code) };
      const dialling = run(dial(candidates).left, { ...asked, side: 'dials' });
      peers([await listening, await dialling]);
    }
  });

  it('settles who has made the code by the run ids, where a person sits', async () => {
    for (let i = 0; i < 4; i++) {
      const { candidates } = waiting({ takesOffers: true });
      const [ours, theirs] = [spoken(), spoken()];
      const listening = run(candidates, { create: ours.create, code: () => Promise.resolve(theirs.code) });
      const asked = { create: theirs.create, code: () => Promise.resolve(ours.code) };
      const dialling = run(dial(candidates).left, { ...asked, side: 'dials' });
      peers([await listening, await dialling]);
    }
  });

  it('ends for all that wait when it is given up', async () => {
    const { candidates, over } = waiting();
    const stop = new AbortController();
    const listening = run(candidates, { create: spoken().create, signal: stop.signal });
    const joined = dial(candidates);
    await firstFrame(joined);
    stop.abort(new Error('enough'));
    expect(await listening).toMatchObject({ message: 'enough' });
    expect(over()).toBe(1);
    expect(joined.right.isClosed).toBe(true);
  });
});

describe('a side that was given the code', () => {
  it('waits for the first OFFER, whoever else connects', async () => {
    const { candidates } = waiting({ speaksFirst: false, takesOffers: true });
    dial(candidates).left.write(new Uint8Array(100));
    dial(candidates);
    const { create, code } = spoken();
    const dialling = run(dial(candidates).left, { create, side: 'dials' });
    await candidates.found(new AbortController().signal);
    peers([await run(candidates, { code, side: 'listens' }), await dialling]);
  });

  it.each([1, 2] as const)('meets one that was given the same, in suite %d', async (suite) => {
    const { candidates } = waiting({ speaksFirst: false, takesOffers: true });
    dial(candidates);
    const dialling = run(dial(candidates).left, { code: AGREED, side: 'dials', suite });
    await candidates.found(new AbortController().signal);
    peers([await run(candidates, { code: AGREED, side: 'listens', suite }), await dialling]);
  });

  it('stops waiting when it is given up', async () => {
    const { candidates } = waiting({ speaksFirst: false });
    const stop = new AbortController();
    const found = candidates.found(stop.signal);
    stop.abort(new Error('enough'));
    await expect(found).rejects.toThrow('enough');
  });
});

describe('a port', () => {
  const over = new AbortController();
  const sockets: Socket[] = [];

  afterEach(() => {
    over.abort();
    for (const socket of sockets.splice(0)) socket.destroy();
  });

  it('is closed with the first answer, and outlives connections that are reset', async () => {
    const onOver = (): void => {
      over.abort();
    };
    const candidates = new Candidates({ speaksFirst: true, takesOffers: false, onOver });
    const onConnection = (socket: Socket): void => {
      candidates.add(overSocket(socket, clock));
    };
    const port = await listen({ host: '127.0.0.1', port: 0 }, onConnection, over.signal);
    const dialled = async (): Promise<Socket> => {
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }).on('error', () => undefined);
      sockets.push(socket);
      await once(socket, 'connect');
      return socket;
    };
    const { create, code } = spoken();
    const listening = run(candidates, { create });
    for (let i = 0; i < 3; i++) {
      const socket = await dialled();
      socket.write('nonsense');
      socket.resetAndDestroy();
    }
    const dialling = run(overSocket(await dialled(), clock), { code, side: 'dials' });
    expect(await talk(...peers([await listening, await dialling]))).toHaveLength(2);
    const late = connect({ port, host: '127.0.0.1' });
    sockets.push(late);
    const [error] = (await once(late, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNREFUSED');
  });
});

/** A REPLY with nothing in it that is right. */
function reply(runId: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const share = new Uint8Array(65).fill(4);
  return encodeFrame({
    suite: 1,
    runId,
    body: { type: 'reply', sender: undefined, share, confirmation: new Uint8Array(32) },
  });
}
