/** The primary's side of linking towards a server that answers as it is told to; see `account.test.ts` for a real one. */
import { PrivateKey } from '@signalapp/libsignal-client';
import { describe, expect, it } from 'vitest';
import { approve, type ApprovedDevice } from '../../src/account/approve.ts';
import { BotError, type ErrorCode } from '../../src/errors.ts';
import { formatLinkUrl } from '../../src/session/link-url.ts';
import type { Request, Response } from '../../src/transport/request.ts';
import { ManualClock, settle, testPlatform } from '../support/clock.ts';
import { answer, linkedStore } from '../upkeep/fixtures.ts';

const LINK = formatLinkUrl({
  address: 'AAECAwQFBgcICQoLDA0ODw==',
  publicKey: PrivateKey.generate().getPublicKey().serialize(),
});
const WAIT_MS = 120_000;

type Answers = (step: 'devices' | 'token' | 'relay' | 'wait', count: number) => Response;

const GOOD: Answers = (step, count) => {
  switch (step) {
    case 'devices':
      return answer(200, { devices: [{ id: 1 }, ...(count > 3 ? [{ id: 2 }] : [])] });
    case 'token':
      return answer(200, { verificationCode: 'code', tokenIdentifier: 'token-id' });
    case 'relay':
      return answer(204);
    case 'wait':
      return answer(204);
  }
};

interface Outcome {
  readonly device?: ApprovedDevice;
  readonly error?: unknown;
  readonly asked: Readonly<Record<string, number>>;
  /** ms it took. */
  readonly took: number;
}

async function approveWith(answers: Answers): Promise<Outcome> {
  const clock = new ManualClock();
  const begun = clock.now();
  const asked: Record<string, number> = { devices: 0, token: 0, relay: 0, wait: 0 };
  const request = ({ path }: Request): Promise<Response> => {
    const step = stepOf(path);
    asked[step] = (asked[step] ?? 0) + 1;
    const count = asked[step];
    return Promise.resolve().then(() => answers(step, count));
  };
  const parts = {
    store: await linkedStore({ deviceId: 1 }),
    platform: testPlatform({ clock }),
    requester: { request },
  };
  let outcome: Outcome | undefined;
  const took = (): number => clock.now() - begun;
  void approve(parts, LINK, WAIT_MS, new AbortController().signal).then(
    (device) => (outcome = { device, asked, took: took() }),
    (error: unknown) => (outcome = { error, asked, took: took() }),
  );
  for (let second = 0; second < 300 && outcome === undefined; second++) {
    await settle();
    await clock.advance(1000);
    await settle();
  }
  if (outcome === undefined) throw new Error('it has not ended');
  return outcome;
}

function stepOf(path: string): 'devices' | 'token' | 'relay' | 'wait' {
  if (path === '/v1/devices') return 'devices';
  if (path === '/v1/devices/provisioning/code') return 'token';
  if (path.startsWith('/v1/provisioning/')) return 'relay';
  expect(path).toBe('/v1/devices/wait_for_linked_device/token-id?timeout=1');
  return 'wait';
}

function away(code: ErrorCode): never {
  throw new BotError(code, 'away');
}

describe('approving', () => {
  it('takes the device that has come up in the list', async () => {
    const { device, asked, took } = await approveWith(GOOD);
    expect(device).toEqual({ deviceId: 2, name: null });
    expect(asked).toEqual({ devices: 4, token: 1, relay: 1, wait: 0 });
    expect(took).toBeLessThan(5000);
  });

  it('learns of the device by its token where the server lists none, asking seldom', async () => {
    const { device, asked, took } = await approveWith((step, count) => {
      if (step === 'devices') return answer(404);
      if (step === 'wait') return count === 2 ? answer(200, { id: 3 }) : answer(204);
      return GOOD(step, count);
    });
    expect(device).toEqual({ deviceId: 3, name: null });
    expect(asked['wait']).toBe(2);
    expect(took).toBeGreaterThanOrEqual(58_000);
  });

  it.each(['SERVER_UNREACHABLE', 'REQUEST_TIMEOUT'] as const)(
    'goes on when a look ends with %s: the new device has all it needs',
    async (code) => {
      const { device } = await approveWith((step, count) => {
        if (step === 'devices' && count > 1 && count < 40) away(code);
        if (step === 'wait') away(code);
        return GOOD(step, count);
      });
      expect(device).toEqual({ deviceId: 2, name: null });
    },
  );

  it('ends when no device has come in time, though the server is away', async () => {
    const { error, took } = await approveWith((step, count) =>
      step === 'devices' && count > 1 ? away('SERVER_UNREACHABLE') : GOOD(step, count),
    );
    expect(error).toMatchObject({ code: 'LINK_EXPIRED' });
    expect(took).toBeGreaterThanOrEqual(WAIT_MS - 1000);
  });

  it('ends at a look that the server refuses', async () => {
    const { error } = await approveWith((step, count) =>
      step === 'devices' && count > 1 ? answer(403) : GOOD(step, count),
    );
    expect(error).toMatchObject({ code: 'REQUEST_REFUSED' });
  });
});

describe('approving is refused', () => {
  const refused = async (answers: Partial<Record<'token' | 'relay', Response>>): Promise<unknown> =>
    (await approveWith((step, count) => answers[step as 'token'] ?? GOOD(step, count))).error;

  it('with the counts at the device limit', async () => {
    const error = await refused({ token: answer(411, { current: 6, max: 6 }) });
    expect(error).toMatchObject({
      code: 'DEVICE_LIMIT',
      message: expect.stringContaining('6 of 6') as string,
    });
    expect(await refused({ token: answer(411) })).toMatchObject({ code: 'DEVICE_LIMIT' });
  });

  it('with the time to wait when there were too many', async () => {
    const limited: Response = { ...answer(429), headers: { 'retry-after': '7' } };
    for (const step of ['token', 'relay'] as const) {
      const error = await refused({ [step]: limited });
      expect(error).toMatchObject({ code: 'RATE_LIMITED', retryAt: new ManualClock().now() + 7000 });
    }
  });

  it.each([
    ['token', 401, 'NOT_PRIMARY'],
    ['token', 404, 'REQUEST_REFUSED'],
    ['token', 503, 'SERVER_UNREACHABLE'],
    ['relay', 404, 'LINK_EXPIRED'],
    ['relay', 400, 'REQUEST_REFUSED'],
    ['relay', 500, 'SERVER_UNREACHABLE'],
  ] as const)('when the %s is answered with %i: %s', async (step, status, code) => {
    expect(await refused({ [step]: answer(status) })).toMatchObject({ code });
  });
});
