/**
 * What an account is told about itself, and what one of its devices sets for all of them.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { toBase64 } from '../../src/bytes.ts';
import { basic, registrationBody, verify } from '../support/raw-primary.ts';
import { DIALECTS, Stage } from '../support/stage.ts';

const MAX_UPLOAD = 100 * 1024 * 1024;

describe.each(DIALECTS)('%s', (dialect) => {
  let stage: Stage;
  afterEach(() => stage.close());
  const isNew = dialect === 'aug26';

  it(`${isNew ? 'checks' : 'does not look at'} the length of an upload`, async () => {
    stage = await Stage.open({ dialect });
    const form = async (query: string): Promise<number> =>
      (await stage.get(`/v4/attachments/form/upload${query}`)).status;
    for (const length of ['', '?uploadLength=1', `?uploadLength=${String(MAX_UPLOAD)}`])
      expect(await form(length), length).toBe(200);
    for (const length of ['0', '-1']) expect(await form(`?uploadLength=${length}`)).toBe(isNew ? 400 : 200);
    expect(await form(`?uploadLength=${String(MAX_UPLOAD + 1)}`)).toBe(isNew ? 413 : 200);
  });

  it(`${isNew ? 'names' : 'has no'} salt of credentials in whoami`, async () => {
    stage = await Stage.open({ dialect });
    const { json } = await stage.get('/v1/accounts/whoami');
    expect(json).toMatchObject({ uuid: stage.phone.aci, number: stage.phone.number, usernameHash: null });
    expect((json as Record<string, unknown>)['authCredentialSalt']).toBe(isNew ? null : undefined);
  });

  it('lets a linked device overwrite the registration lock of the account', async () => {
    stage = await Stage.open({ dialect });
    const { number } = stage.phone;
    const unidentifiedAccessKey = toBase64(new Uint8Array(16));
    const set = (change: object): Promise<number> =>
      stage.put('/v1/accounts/attributes/', { unidentifiedAccessKey, ...change });
    const register = async (): Promise<number> => {
      const json = registrationBody(await verify(stage.anonymous, number));
      const headers = basic(number);
      return (await stage.anonymous.request('POST', '/v1/registration', { json, headers })).status;
    };
    expect(await set({ registrationLock: 'ab'.repeat(32) })).toBe(204);
    expect(await register()).toBe(423);
    expect(await set({})).toBe(204);
    expect(await register()).toBe(200);
  });
});
