/**
 * Registering on the development server: what the server answers, and answers that are lost.
 */
import { afterAll, describe, expect, it } from 'vitest';
import { EMPTY, fromUtf8, own, toUtf8 } from '../../src/bytes.ts';
import { BotError } from '../../src/errors.ts';
import { openMemory } from '../../src/store/memory.ts';
import { account as accountRow, pendingRegistration } from '../../src/store/tables.ts';
import { answers, CAPTCHA, freeNumber, registerHere } from '../support/primary.ts';
import { nothing, Registering, say, type Fault } from '../support/registering.ts';

const registering = await Registering.start();
const { server, profile } = registering;

afterAll(async () => {
  await server.close();
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
      await registering.expectWhole(store, account);
    },
  );

  it('a registration whose answer was lost is taken up without another code', async () => {
    const store = openMemory();
    const number = freeNumber();
    let lost = 0;
    const error: unknown = await registering
      .with(store, number, answers(), (request, take) => {
        if (request.path !== '/v1/registration') return take();
        lost += 1;
        return take().then(() => {
          throw new BotError('SERVER_UNREACHABLE', 'the answer got lost');
        });
      })
      .catch((thrown: unknown) => thrown);
    expect([lost, (error as BotError).code]).toEqual([1, 'SERVER_UNREACHABLE']);
    const { account, reregistration } = await registerHere(
      profile,
      store,
      number,
      say({ captcha: nothing, code: nothing }),
    );
    expect(reregistration).toBe(false);
    await registering.expectWhole(store, account);
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
      await registering.with(store, number, answers(), lost).catch(() => undefined);
      const begun = (await pendingRegistration.get(store.batch())) as { keys: unknown };
      server.faults.add({ verb: 'POST', path: '/v1/registration', count: 1, action: { status } });
      await expect(registerHere(profile, store, number)).rejects.toBeInstanceOf(BotError);
      const after = (await pendingRegistration.get(store.batch())) as { keys: unknown };
      expect(after.keys).toEqual(begun.keys);
      expect(begun.keys).not.toBeNull();
      await expect(registerHere(profile, store, freeNumber())).rejects.toMatchObject({
        code: 'ALREADY_LINKED',
      });
      await registering.expectWhole(store, (await registerHere(profile, store, number)).account);
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
    const error: unknown = await registering
      .with(store, number, answers(), twisted)
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'ANSWER_INVALID' });
    expect(await accountRow.get(store.batch())).toBeUndefined();
    await registering.expectWhole(store, (await registerHere(profile, store, number)).account);
  });

  it('a number that is none is taken for the one that was asked for', async () => {
    const store = openMemory();
    const number = freeNumber();
    const { account } = await registering.with(store, number, answers(), async (request, take) => {
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
    await registering
      .with(store, number, answers(), (request, take) => {
        if (request.path !== '/v1/registration') return take();
        return Promise.reject(new BotError('SERVER_UNREACHABLE', 'the request got lost'));
      })
      .catch(() => undefined);
    expect((await pendingRegistration.get(store.batch())) !== undefined).toBe(true);
    const phone = await server.createPhone({ number });
    await expect(registerHere(profile, store, number)).rejects.toMatchObject({ code: 'TRANSFER_POSSIBLE' });
    const { account, reregistration } = await registerHere(profile, store, number, answers(true));
    expect([account.aci, reregistration]).toEqual([phone.aci, true]);
    await registering.expectWhole(store, account);
  });

  it('an account made by a request whose answer got lost is found also when the next answer is a refusal', async () => {
    const store = openMemory();
    const number = freeNumber();
    let lost = 0;
    await registering
      .with(store, number, answers(), async (request, take) => {
        const response = await take();
        if (request.path !== '/v1/registration') return response;
        lost += 1;
        throw new BotError('SERVER_UNREACHABLE', 'the answer got lost');
      })
      .catch(() => undefined);
    expect(lost).toBe(1);
    server.faults.add({ verb: 'POST', path: '/v1/registration', count: 1, action: { status: 429 } });
    await expect(registerHere(profile, store, number)).rejects.toMatchObject({ code: 'RATE_LIMITED' });
    const { account } = await registerHere(profile, store, number);
    await registering.expectWhole(store, account);
  });

  it.each([
    [429, 'RATE_LIMITED'],
    [503, 'SERVER_UNREACHABLE'],
  ] as const)('keeps its keys when %i leaves open whose account it is', async (status, code) => {
    const store = openMemory();
    const number = freeNumber();
    await registering
      .with(store, number, answers(), async (request, take) => {
        const response = await take();
        if (request.path !== '/v1/registration') return response;
        throw new BotError('SERVER_UNREACHABLE', 'the answer got lost');
      })
      .catch(() => undefined);
    const kept = await pendingRegistration.get(store.batch());
    let asked = 0;
    const again = registering.with(store, number, answers(), (request, take) => {
      if (request.path !== '/v1/registration' || ++asked < 2) return take();
      return Promise.resolve({ status, message: '', headers: {}, body: EMPTY });
    });
    await expect(again).rejects.toMatchObject({ code });
    expect(asked).toBe(2);
    expect(await pendingRegistration.get(store.batch())).toEqual(kept);
    await registering.expectWhole(store, (await registerHere(profile, store, number)).account);
  });

  it('goes on without a profile where the server does not take it', async () => {
    server.faults.add({ verb: 'PUT', path: '/v1/profile', count: 1, action: { status: 412 } });
    const store = openMemory();
    const { account } = await registerHere(profile, store, freeNumber());
    await registering.expectWhole(store, account);
  });
});

describe('an account that was registered by half', () => {
  it('is registered again, after a question, when another device has taken the number since', async () => {
    const store = openMemory();
    const number = freeNumber();
    await registering
      .with(store, number, answers(), (request, take) => {
        if (!request.path.startsWith('/v2/keys')) return take();
        throw new BotError('SERVER_UNREACHABLE', 'gone');
      })
      .catch(() => undefined);
    expect(await accountRow.get(store.batch())).toMatchObject({ keysUploaded: false, unlinkedAt: null });
    await registerHere(profile, openMemory(), number, answers(true));
    await expect(registerHere(profile, store, number)).rejects.toMatchObject({ code: 'CONFIRMATION_NEEDED' });
    const { account, reregistration } = await registerHere(profile, store, number, answers(true));
    expect([account.keysUploaded, account.unlinkedAt, reregistration]).toEqual([true, null, true]);
    await registering.expectWhole(store, account);
  });
});
