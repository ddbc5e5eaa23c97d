/**
 * Registering on the development server: what a person is asked for, and gets wrong.
 */
import { afterAll, describe, expect, it } from 'vitest';
import type { RegisterQuestions } from '../../src/account/register.ts';
import { EMPTY, own, toUtf8 } from '../../src/bytes.ts';
import { openMemory } from '../../src/store/memory.ts';
import { pendingRegistration } from '../../src/store/tables.ts';
import { answers, CAPTCHA, CODE, freeNumber, registerHere } from '../support/primary.ts';
import { nothing, Registering, say } from '../support/registering.ts';

const registering = await Registering.start();
const { server, profile } = registering;

afterAll(async () => {
  await server.close();
});

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
      registering
        .with(
          store,
          number,
          questions,
          (request, take) => {
            if (request.verb === 'POST' && request.path.endsWith('/code'))
              ways.push((JSON.parse(toUtf8(own(request.body ?? EMPTY))) as { transport: unknown }).transport);
            return take();
          },
          how,
        )
        .catch((error: unknown) => error);
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
      registering
        .with(store, number, answers(), (request, take) => {
          if (!isStale || request.verb !== 'PUT' || !request.path.endsWith('/code')) return take();
          return Promise.resolve({ status: 409, message: '', headers: {}, body: EMPTY });
        })
        .catch((error: unknown) => error);
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
      const made = registering.with(openMemory(), freeNumber(), answers(), (_, take) => take(), { name });
      await expect(made).rejects.toMatchObject({ code: 'USAGE' });
    }
  });

  it('says that a number is none, as the server sees it', async () => {
    await expect(registerHere(profile, openMemory(), '+12')).rejects.toMatchObject({
      code: 'REGISTRATION_REFUSED',
    });
  });
});

it('test data is what the development server takes', () => {
  expect([CAPTCHA, CODE]).toEqual(['noop.noop.registration.noop', '111111']);
});
