import { describe, expect, it } from 'vitest';
import { parseAci } from '../../src/address.ts';
import { fetchSelf } from '../../src/doctor/endpoints.ts';
import { FakeRequester } from '../support/fake-socket.ts';

const uuid = '11111111-1111-4111-8111-111111111111';
const signal = new AbortController().signal;

describe('whoami, as the doctor asks for it', () => {
  it('is read from servers that know no salt, and from those that do', async () => {
    const self = (body: object) =>
      fetchSelf(new FakeRequester({ status: 200, body: { uuid, ...body } }), signal);
    const aci = parseAci(uuid);
    expect(await self({ pni: null, number: null })).toEqual({ aci, pni: undefined, namesSalt: false });
    expect(await self({ authCredentialSalt: null })).toEqual({ aci, pni: undefined, namesSalt: true });
  });
});
