/**
 * Registering on the development server: what a person gets wrong, answers that are lost, and a process that dies anywhere.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { register, type Connect, type RegisterQuestions } from '../../src/account/register.ts';
import { startDevServer, type DevServer } from '../../src/devserver/devserver.ts';
import { EMPTY } from '../../src/bytes.ts';
import { BotError } from '../../src/errors.ts';
import { systemPlatform } from '../../src/platform.ts';
import { whoami } from '../../src/service/account.ts';
import { connected, credentialsOf } from '../../src/service/connected.ts';
import { countKeys } from '../../src/service/keys.ts';
import { parseProfile, type Profile } from '../../src/service/profile.ts';
import { openMemory } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import { account as accountRow, pendingRegistration, prekeys, type Account } from '../../src/store/tables.ts';
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
  const parts = { store, profile, platform, number, name: 'Owner', questions, connect };
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
