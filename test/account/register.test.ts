/**
 * Registering on the development server: what a person gets wrong, answers that are lost, and a process that dies anywhere.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  register,
  type Connect,
  type RegisterParts,
  type RegisterQuestions,
} from '../../src/account/register.ts';
import { startDevServer, type DevServer } from '../../src/devserver/devserver.ts';
import type { Aci } from '../../src/address.ts';
import { EMPTY, fromUtf8, own, toUtf8 } from '../../src/bytes.ts';
import { BotError } from '../../src/errors.ts';
import { systemPlatform } from '../../src/platform.ts';
import { whoami } from '../../src/service/account.ts';
import { connected, credentialsOf } from '../../src/service/connected.ts';
import { countKeys } from '../../src/service/keys.ts';
import { parseProfile, type Profile } from '../../src/service/profile.ts';
import { openMemory } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import {
  account as accountRow,
  pendingRegistration,
  prekeys,
  sessions,
  type Account,
} from '../../src/store/tables.ts';
import type { Request, Response } from '../../src/transport/request.ts';
import { answers, CAPTCHA, CODE, freeNumber, registerHere } from '../support/primary.ts';
import { FaultyStore } from '../support/store-faults.ts';

let server: DevServer;
let profile: Profile;

beforeAll(async () => {
  server = await startDevServer();
  profile = parseProfile(JSON.stringify(server.profile), '/');
});

afterAll(async () => {
  await server.close();
});

function say(parts: Partial<RegisterQuestions>): RegisterQuestions {
  return { ...answers(), ...parts };
}
const nothing = (): Promise<undefined> => Promise.resolve(undefined);

describe('what a person has to give', () => {
  it('is asked for in turn, and a later call goes on where the last one ended', async () => {
    const store = openMemory();
    const number = freeNumber();
    const refused = async (questions: RegisterQuestions): Promise<unknown> =>
      registerHere(profile, store, number, questions).catch((error: unknown) => error);
    expect(await refused(say({ captcha: nothing }))).toMatchObject({ code: 'CAPTCHA_NEEDED' });
    expect(await refused(say({ captcha: () => Promise.resolve('signal.key.registration.x') }))).toMatchObject(
      {
        code: 'CAPTCHA_REFUSED',
      },
    );
    expect(await refused(say({ code: nothing }))).toMatchObject({ code: 'CODE_NEEDED' });
    const wrong = say({
      captcha: nothing,
      code: (again) => Promise.resolve(again ? undefined : '999999'),
    });
    expect(await refused(wrong)).toMatchObject({ code: 'CODE_WRONG' });
    const before = (await server.stats()).requests['POST /v1/verification/session/:id/code'];
    const { account } = await registerHere(profile, store, number, say({ captcha: nothing }));
    expect(account).toMatchObject({ number, keysUploaded: true });
    expect((await server.stats()).requests['POST /v1/verification/session/:id/code']).toBe(before);
  });

  it('may be given once more when the code was wrong', async () => {
    const codes = ['123123', '1 1 1-111'];
    const questions = say({ code: () => Promise.resolve(codes.shift()) });
    await registerHere(profile, openMemory(), freeNumber(), questions);
    expect(codes).toEqual([]);
  });

  it('begins anew when the server has forgotten the verification', async () => {
    const store = openMemory();
    const number = freeNumber();
    await expect(registerHere(profile, store, number, say({ code: nothing }))).rejects.toMatchObject({
      code: 'CODE_NEEDED',
    });
    server.clock.advance(11 * 60_000);
    await registerHere(profile, store, number);
  });

  it.each(['15550001111', '+0555000111', 'me'])('is refused as a number: %s', async (number) => {
    await expect(registerHere(profile, openMemory(), number)).rejects.toMatchObject({ code: 'USAGE' });
  });

  it('gets another code when the one before is lost, by the same way or the other', async () => {
    const store = openMemory();
    const number = freeNumber();
    const ways: unknown[] = [];
    const run = (how: object, questions = say({ code: nothing })): Promise<unknown> =>
      registerWith(
        store,
        number,
        questions,
        (request, take) => {
          if (request.verb === 'POST' && request.path.endsWith('/code'))
            ways.push((JSON.parse(toUtf8(own(request.body ?? EMPTY))) as { transport: unknown }).transport);
          return take();
        },
        how,
      ).catch((error: unknown) => error);
    expect(await run({})).toMatchObject({ code: 'CODE_NEEDED' });
    expect(await run({})).toMatchObject({ code: 'CODE_NEEDED' });
    expect(ways).toEqual(['sms']);
    expect(await run({ transport: 'voice' })).toMatchObject({ code: 'CODE_NEEDED' });
    expect(await run({ transport: 'voice' })).toMatchObject({ code: 'CODE_NEEDED' });
    expect(ways).toEqual(['sms', 'voice']);
    expect(await run({ transport: 'voice', newCode: true })).toMatchObject({ code: 'CODE_NEEDED' });
    expect(ways).toEqual(['sms', 'voice', 'voice']);
    // The code that was called is typed without a word of the way it came.
    expect(await run({}, answers())).toMatchObject({ account: { number } });
    expect(ways).toEqual(['sms', 'voice', 'voice']);
  });

  it('gets another code when the server waits for none any more', async () => {
    const store = openMemory();
    const number = freeNumber();
    let isStale = true;
    const run = (): Promise<unknown> =>
      registerWith(store, number, answers(), (request, take) => {
        if (!isStale || request.verb !== 'PUT' || !request.path.endsWith('/code')) return take();
        return Promise.resolve({ status: 409, message: '', headers: {}, body: EMPTY });
      }).catch((error: unknown) => error);
    const error = await run();
    expect(error).toMatchObject({
      code: 'CODE_NEEDED',
      next: expect.stringContaining('a new code') as string,
    });
    expect(await pendingRegistration.get(store.batch())).toMatchObject({ codeRequested: false });
    isStale = false;
    expect(await run()).toMatchObject({ account: { number } });
  });

  it('is asked for ten codes at most', async () => {
    let asked = 0;
    const questions = say({
      code: () => {
        asked += 1;
        return Promise.resolve('999999');
      },
    });
    await expect(registerHere(profile, openMemory(), freeNumber(), questions)).rejects.toMatchObject({
      code: 'CODE_WRONG',
    });
    expect(asked).toBe(10);
  });

  it('includes a name', async () => {
    for (const name of ['', ' ', 'x'.repeat(258)]) {
      const made = registerWith(openMemory(), freeNumber(), answers(), (_, take) => take(), { name });
      await expect(made).rejects.toMatchObject({ code: 'USAGE' });
    }
  });

  it('says that a number is none, as the server sees it', async () => {
    await expect(registerHere(profile, openMemory(), '+12')).rejects.toMatchObject({
      code: 'REGISTRATION_REFUSED',
    });
  });
});

describe('answers of the server', () => {
  it.each([
    [401, 'CODE_NEEDED'],
    [403, 'REGISTRATION_REFUSED'],
    [409, 'TRANSFER_POSSIBLE'],
    [422, 'REGISTRATION_REFUSED'],
    [423, 'REGISTRATION_LOCKED'],
    [428, 'CHALLENGE_REQUIRED'],
    [429, 'RATE_LIMITED'],
    [441, 'TOTP_NEEDED'],
    [499, 'CLIENT_OUTDATED'],
    [503, 'SERVER_UNREACHABLE'],
  ] as const)(
    '%i to the registration is %s, with a next step, and can be tried again',
    async (status, code) => {
      const store = openMemory();
      const number = freeNumber();
      server.faults.add({ verb: 'POST', path: '/v1/registration', count: 1, action: { status } });
      const error: unknown = await registerHere(profile, store, number).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code });
      expect((error as BotError).next).not.toBe('');
      expect(await accountRow.get(store.batch())).toBeUndefined();
      const { account } = await registerHere(profile, store, number);
      expect(account.keysUploaded).toBe(true);
      expect(await pendingRegistration.get(store.batch())).toBeUndefined();
      await expectWhole(store, account);
    },
  );

  it('a registration whose answer was lost is taken up without another code', async () => {
    const store = openMemory();
    const number = freeNumber();
    let lost = 0;
    const error: unknown = await registerWith(store, number, answers(), (request, take) => {
      if (request.path !== '/v1/registration') return take();
      lost += 1;
      return take().then(() => {
        throw new BotError('SERVER_UNREACHABLE', 'the answer got lost');
      });
    }).catch((thrown: unknown) => thrown);
    expect([lost, (error as BotError).code]).toEqual([1, 'SERVER_UNREACHABLE']);
    const { account } = await registerHere(profile, store, number, say({ captcha: nothing, code: nothing }));
    await expectWhole(store, account);
  });

  it.each([423, 429] as const)(
    "%i to a second request leaves the keys of the first, which may be the account's",
    async (status) => {
      const store = openMemory();
      const number = freeNumber();
      const lost: Fault = async (request, take) => {
        const response = await take();
        if (request.path !== '/v1/registration') return response;
        throw new BotError('SERVER_UNREACHABLE', 'the answer got lost');
      };
      await registerWith(store, number, answers(), lost).catch(() => undefined);
      const begun = (await pendingRegistration.get(store.batch())) as { keys: unknown };
      server.faults.add({ verb: 'POST', path: '/v1/registration', count: 1, action: { status } });
      await expect(registerHere(profile, store, number)).rejects.toBeInstanceOf(BotError);
      const after = (await pendingRegistration.get(store.batch())) as { keys: unknown };
      expect(after.keys).toEqual(begun.keys);
      expect(begun.keys).not.toBeNull();
      await expect(registerHere(profile, store, freeNumber())).rejects.toMatchObject({
        code: 'ALREADY_LINKED',
      });
      await expectWhole(store, (await registerHere(profile, store, number)).account);
    },
  );

  it('a captcha that is asked for late goes with a new verification', async () => {
    const store = openMemory();
    const number = freeNumber();
    server.faults.add({ verb: 'POST', path: '/v1/registration', count: 1, action: { status: 428 } });
    await expect(registerHere(profile, store, number)).rejects.toMatchObject({ code: 'CHALLENGE_REQUIRED' });
    let captchas = 0;
    const questions = say({
      captcha: () => {
        captchas += 1;
        return Promise.resolve(CAPTCHA);
      },
    });
    await registerHere(profile, store, number, questions);
    expect(captchas).toBe(1);
  });

  it.each([
    ['another number', () => ({ number: '+15559999999' })],
    ['one id for account and number', (uuid: string) => ({ pni: uuid })],
  ])('a registration that gives %s is not taken', async (_, change) => {
    const store = openMemory();
    const number = freeNumber();
    const twisted: Fault = async (request, take) => {
      const response = await take();
      if (request.path !== '/v1/registration') return response;
      const body = JSON.parse(toUtf8(own(response.body))) as { uuid: string };
      return { ...response, body: fromUtf8(JSON.stringify({ ...body, ...change(body.uuid) })) };
    };
    const error: unknown = await registerWith(store, number, answers(), twisted).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ code: 'ANSWER_INVALID' });
    expect(await accountRow.get(store.batch())).toBeUndefined();
    await expectWhole(store, (await registerHere(profile, store, number)).account);
  });

  it('a number that is none is taken for the one that was asked for', async () => {
    const store = openMemory();
    const number = freeNumber();
    const { account } = await registerWith(store, number, answers(), async (request, take) => {
      const response = await take();
      if (request.path !== '/v1/registration') return response;
      const body = { ...(JSON.parse(toUtf8(response.body)) as object), number: 'call\u001b[2J me' };
      return { ...response, body: fromUtf8(JSON.stringify(body)) };
    });
    expect(account.number).toBe(number);
  });

  it('a lost answer does not take the account of somebody else for the own one', async () => {
    const store = openMemory();
    const number = freeNumber();
    await registerWith(store, number, answers(), (request, take) => {
      if (request.path !== '/v1/registration') return take();
      return Promise.reject(new BotError('SERVER_UNREACHABLE', 'the request got lost'));
    }).catch(() => undefined);
    expect((await pendingRegistration.get(store.batch())) !== undefined).toBe(true);
    const phone = await server.createPhone({ number });
    await expect(registerHere(profile, store, number)).rejects.toMatchObject({ code: 'TRANSFER_POSSIBLE' });
    const { account, reregistration } = await registerHere(profile, store, number, answers(true));
    expect([account.aci, reregistration]).toEqual([phone.aci, true]);
    await expectWhole(store, account);
  });

  it('an account made by a request whose answer got lost is found also when the next answer is a refusal', async () => {
    const store = openMemory();
    const number = freeNumber();
    let lost = 0;
    await registerWith(store, number, answers(), async (request, take) => {
      const response = await take();
      if (request.path !== '/v1/registration') return response;
      lost += 1;
      throw new BotError('SERVER_UNREACHABLE', 'the answer got lost');
    }).catch(() => undefined);
    expect(lost).toBe(1);
    server.faults.add({ verb: 'POST', path: '/v1/registration', count: 1, action: { status: 429 } });
    await expect(registerHere(profile, store, number)).rejects.toMatchObject({ code: 'RATE_LIMITED' });
    const { account } = await registerHere(profile, store, number);
    await expectWhole(store, account);
  });

  it.each([
    [429, 'RATE_LIMITED'],
    [503, 'SERVER_UNREACHABLE'],
  ] as const)('keeps its keys when %i leaves open whose account it is', async (status, code) => {
    const store = openMemory();
    const number = freeNumber();
    await registerWith(store, number, answers(), async (request, take) => {
      const response = await take();
      if (request.path !== '/v1/registration') return response;
      throw new BotError('SERVER_UNREACHABLE', 'the answer got lost');
    }).catch(() => undefined);
    const kept = await pendingRegistration.get(store.batch());
    let asked = 0;
    const again = registerWith(store, number, answers(), (request, take) => {
      if (request.path !== '/v1/registration' || ++asked < 2) return take();
      return Promise.resolve({ status, message: '', headers: {}, body: EMPTY });
    });
    await expect(again).rejects.toMatchObject({ code });
    expect(asked).toBe(2);
    expect(await pendingRegistration.get(store.batch())).toEqual(kept);
    await expectWhole(store, (await registerHere(profile, store, number)).account);
  });

  it('goes on without a profile where the server does not take it', async () => {
    server.faults.add({ verb: 'PUT', path: '/v1/profile', count: 1, action: { status: 412 } });
    const store = openMemory();
    const { account } = await registerHere(profile, store, freeNumber());
    await expectWhole(store, account);
  });
});

describe('an account that was registered by half', () => {
  it('is registered again, after a question, when another device has taken the number since', async () => {
    const store = openMemory();
    const number = freeNumber();
    await registerWith(store, number, answers(), (request, take) => {
      if (!request.path.startsWith('/v2/keys')) return take();
      throw new BotError('SERVER_UNREACHABLE', 'gone');
    }).catch(() => undefined);
    expect(await accountRow.get(store.batch())).toMatchObject({ keysUploaded: false, unlinkedAt: null });
    await registerHere(profile, openMemory(), number, answers(true));
    await expect(registerHere(profile, store, number)).rejects.toMatchObject({ code: 'CONFIRMATION_NEEDED' });
    const { account, reregistration } = await registerHere(profile, store, number, answers(true));
    expect([account.keysUploaded, account.unlinkedAt, reregistration]).toEqual([true, null, true]);
    await expectWhole(store, account);
  });
});

describe('the crash walk over register', () => {
  async function restart(store: Store, number: string): Promise<void> {
    const { account } = await registerHere(profile, store, number).catch((error: unknown) => {
      // All was done before the crash, only nobody heard.
      expect(error).toMatchObject({ code: 'CONFIRMATION_NEEDED' });
      return { account: undefined };
    });
    const row = await accountRow.get(store.batch());
    if (account !== undefined) expect(row).toEqual(account);
    expect(await pendingRegistration.get(store.batch())).toBeUndefined();
    if (row === undefined) throw new Error('there is no account');
    await expectWhole(store, row);
  }

  it('is whole after a restart, whichever commit the process dies at', { timeout: 120_000 }, async () => {
    const counting = new FaultyStore(openMemory());
    await registerHere(profile, counting, freeNumber());
    expect(counting.commits).toBeGreaterThan(10);
    for (let at = 1; at <= counting.commits; at++) {
      for (const kind of ['crash-before', 'crash-after'] as const) {
        const store = openMemory();
        const number = freeNumber();
        await registerHere(profile, new FaultyStore(store, { at, kind }), number).catch(() => undefined);
        await restart(store, number);
      }
    }
  });

  it('is whole also where an account with sessions is registered again', { timeout: 120_000 }, async () => {
    const other = '00000000-0000-4000-8000-0000000000bb' as Aci;
    const prepare = async (): Promise<{ store: Store; number: string; before: Account }> => {
      const [store, number] = [openMemory(), freeNumber()];
      const { account: before } = await registerHere(profile, store, number);
      const batch = store.batch();
      for (const device of [1, 2]) sessions.put(batch, 'aci', other, device, fromUtf8('an old ratchet'));
      await batch.commit();
      return { store, number, before };
    };
    const check = async (store: Store, before: Account, account: Account): Promise<void> => {
      expect([account.aci, account.identity]).toEqual([before.aci, before.identity]);
      expect(account.password).not.toBe(before.password);
      for await (const [key] of sessions.scan(store)) expect(key).toBe('no session');
      await expectWhole(store, account);
    };
    const first = await prepare();
    const counting = new FaultyStore(first.store);
    const { account } = await registerHere(profile, counting, first.number, answers(true));
    await check(first.store, first.before, account);
    expect(counting.commits).toBeGreaterThan(10);
    for (let at = 1; at <= counting.commits; at++) {
      for (const kind of ['crash-before', 'crash-after'] as const) {
        const { store, number, before } = await prepare();
        await registerHere(profile, new FaultyStore(store, { at, kind }), number, answers(true)).catch(
          () => undefined,
        );
        await check(store, before, (await registerHere(profile, store, number, answers(true))).account);
      }
    }
  });

  it('is whole after a restart, whichever request the process dies at', { timeout: 120_000 }, async () => {
    let total = 0;
    await registerWith(openMemory(), freeNumber(), answers(), (_, take) => {
      total += 1;
      return take();
    });
    expect(total).toBe(10);
    for (let at = 1; at <= total; at++) {
      for (const when of ['before', 'after'] as const) {
        const store = openMemory();
        const dying = new FaultyStore(store);
        const number = freeNumber();
        let count = 0;
        await registerWith(dying, number, answers(), async (_, take) => {
          count += 1;
          if (count < at) return take();
          if (when === 'after' && count === at) await take();
          dying.crash();
          throw new BotError('SERVER_UNREACHABLE', 'the process died here');
        }).catch(() => undefined);
        await restart(store, number);
      }
    }
  });
});

type Fault = (request: Request, take: () => Promise<Response>) => Promise<Response>;

/** Registers with each request in the hands of `fault`. */
function registerWith(
  store: Store,
  number: string,
  questions: RegisterQuestions,
  fault: Fault,
  how: Partial<Pick<RegisterParts, 'name' | 'transport' | 'newCode'>> = {},
): ReturnType<typeof register> {
  const platform = systemPlatform();
  const connect: Connect = (credentials, use, signal) =>
    connected(
      { profile, platform },
      credentials,
      (requester) =>
        use({ request: (request, options) => fault(request, () => requester.request(request, options)) }),
      signal,
    );
  const parts = { store, profile, platform, number, name: 'Owner', questions, connect, ...how };
  return register(parts, () => undefined, AbortSignal.timeout(30_000));
}

/** The server knows the device and has its keys, and each of them has its private half here. */
async function expectWhole(store: Store, account: Account): Promise<void> {
  const platform = systemPlatform();
  const counts = await connected(
    { profile, platform },
    credentialsOf(account),
    async (requester) => {
      expect(await whoami(requester)).toMatchObject({ aci: account.aci, number: account.number });
      return Promise.all([countKeys(requester, 'aci'), countKeys(requester, 'pni')]);
    },
    AbortSignal.timeout(20_000),
  );
  expect(counts).toEqual([
    { ec: 100, kyber: 100 },
    { ec: 100, kyber: 100 },
  ]);
  for (const identity of ['aci', 'pni'] as const) {
    for (const kind of ['ec', 'kyber', 'signed'] as const) {
      let confirmed = 0;
      for await (const [, row] of prekeys.scan(store, [identity, kind])) {
        if (row.confirmedAt !== 0 && row.replacedAt === 0) confirmed += 1;
      }
      expect(confirmed, `${identity} ${kind}`).toBe(kind === 'ec' ? 100 : kind === 'kyber' ? 101 : 1);
    }
  }
}

it('test data is what the development server takes', () => {
  expect([CAPTCHA, CODE]).toEqual(['noop.noop.registration.noop', '111111']);
});
