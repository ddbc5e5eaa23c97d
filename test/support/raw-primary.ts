/**
 * A primary device by hand: verification session and registration, each step as a request that tests can alter.
 */
import { PrivateKey } from '@signalapp/libsignal-client';
import { fromUtf8, toBase64 } from '../../src/bytes.ts';
import type { DevServer } from '../../src/devserver/devserver.ts';
import { systemPlatform } from '../../src/platform.ts';
import { newFirstKeys, signedKeyJson } from '../../src/session/first-keys.ts';
import { CAPTCHA, CODE } from './primary.ts';
import { RawSocket, type RawResponse } from './raw-client.ts';

export const NUMBER = '+15550003333';
export const SESSION = '/v1/verification/session';

const { random } = systemPlatform();

export interface Session {
  readonly id: string;
  readonly allowedToRequestCode: boolean;
  readonly verified: boolean;
}

/** @returns the session's id, and its path */
export async function begin(socket: RawSocket, number = NUMBER): Promise<{ path: string; id: string }> {
  const { id } = (await socket.request('POST', SESSION, { json: { number } })).json as Session;
  return { id, path: `${SESSION}/${encodeURIComponent(id)}` };
}

/** @returns the id of a session that is verified */
export async function verify(socket: RawSocket, number = NUMBER): Promise<string> {
  const { id, path } = await begin(socket, number);
  await socket.request('PATCH', path, { json: { captcha: CAPTCHA } });
  await socket.request('POST', `${path}/code`, { json: { transport: 'sms', client: 'desktop' } });
  await socket.request('PUT', `${path}/code`, { json: { code: CODE } });
  return id;
}

export type RegistrationBody = Record<string, unknown> & { accountAttributes: Record<string, unknown> };

/** With keys of its own, and all that every generation wants. */
export function registrationBody(sessionId: string): RegistrationBody {
  const identities = (['aci', 'pni'] as const).map((identity) => {
    const key = PrivateKey.generate();
    const pair = {
      publicKey: toBase64(key.getPublicKey().serialize()),
      privateKey: toBase64(key.serialize()),
    };
    const first = newFirstKeys(identity, pair, random, 0);
    return {
      publicKey: pair.publicKey,
      signed: signedKeyJson('signed', first.signed),
      kyber: signedKeyJson('kyber', first.lastResort),
    };
  });
  const [aci, pni] = identities;
  return {
    sessionId,
    skipDeviceTransfer: true,
    aciIdentityKey: aci?.publicKey,
    pniIdentityKey: pni?.publicKey,
    aciSignedPreKey: aci?.signed,
    pniSignedPreKey: pni?.signed,
    aciPqLastResortPreKey: aci?.kyber,
    pniPqLastResortPreKey: pni?.kyber,
    accountAttributes: {
      fetchesMessages: true,
      registrationId: 1,
      pniRegistrationId: 16_383,
      discoverableByPhoneNumber: true,
      unidentifiedAccessKey: toBase64(new Uint8Array(16)),
      capabilities: { spqr: true },
    },
  };
}

export function basic(username: string, password = 'secret'): string[] {
  return [`authorization:Basic ${toBase64(fromUtf8(`${username}:${password}`))}`];
}

/** The whole way for `NUMBER`, with the password `secret`. */
export async function registerRaw(
  socket: RawSocket,
  alter: (body: RegistrationBody) => void = () => undefined,
  headers = basic(NUMBER),
): Promise<RawResponse> {
  const body = registrationBody(await verify(socket));
  alter(body);
  return socket.request('POST', '/v1/registration', { json: body, headers });
}

/** Registers `NUMBER`, and opens its socket. */
export async function rawPrimary(
  server: DevServer,
  socket: RawSocket,
): Promise<{ raw: RawSocket; aci: string }> {
  const { uuid: aci } = (await registerRaw(socket)).json as { uuid: string };
  return { raw: await RawSocket.open(server.url, { username: aci, password: 'secret' }), aci };
}
