/**
 * Registering under faults: a development server for one test file, registrations whose requests go through the hands of a
 * test, and a look at whether what came of them is whole.
 */
import { expect } from 'vitest';
import {
  register,
  type Connect,
  type RegisterParts,
  type RegisterQuestions,
} from '../../src/account/register.ts';
import { startDevServer, type DevServer } from '../../src/devserver/devserver.ts';
import { systemPlatform } from '../../src/platform.ts';
import { whoami } from '../../src/service/account.ts';
import { connected, credentialsOf } from '../../src/service/connected.ts';
import { countKeys } from '../../src/service/keys.ts';
import { parseProfile, type Profile } from '../../src/service/profile.ts';
import type { Store } from '../../src/store/store.ts';
import type { Account } from '../../src/store/rows.ts';
import { prekeys } from '../../src/store/tables.ts';
import type { Request, Response } from '../../src/transport/request.ts';
import { answers } from './primary.ts';

export type Fault = (request: Request, take: () => Promise<Response>) => Promise<Response>;

export class Registering {
  readonly server: DevServer;
  readonly profile: Profile;

  private constructor(server: DevServer) {
    this.server = server;
    this.profile = parseProfile(JSON.stringify(server.profile), '/');
  }

  static async start(): Promise<Registering> {
    return new Registering(await startDevServer());
  }

  /** Registers with each request in the hands of `fault`. */
  with(
    store: Store,
    number: string,
    questions: RegisterQuestions,
    fault: Fault,
    how: Partial<Pick<RegisterParts, 'name' | 'transport' | 'newCode'>> = {},
  ): ReturnType<typeof register> {
    const { profile } = this;
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
  async expectWhole(store: Store, account: Account): Promise<void> {
    const { profile } = this;
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
}

/** What a person says, some of it otherwise. */
export function say(parts: Partial<RegisterQuestions>): RegisterQuestions {
  return { ...answers(), ...parts };
}

export const nothing = (): Promise<undefined> => Promise.resolve(undefined);
