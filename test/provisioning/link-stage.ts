/**
 * A stage for linking: a server in memory with a phone whose account is linked to, a store, and what was shown on the way.
 */
import { expect } from 'vitest';
import { link, type LinkEvent, type LinkParts } from '../../src/provisioning/link.ts';
import { signal as proto } from '../../src/proto/messages.js';
import type { Profile } from '../../src/service/profile.ts';
import { openMemory } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import type { Account } from '../../src/store/rows.ts';
import {
  account as accountCell,
  outboxRows,
  pendingLink,
  prekeys,
  prekeyStates,
} from '../../src/store/tables.ts';
import { ManualClock, testPlatform } from '../support/clock.ts';
import { FakeServer, scriptedRandom } from './fake-server.ts';
import { ACI, phoneAccount } from './seal.ts';

export const profile: Profile = {
  name: 'test',
  chat: 'https://chat.example:443',
  cdn: { '0': undefined, '2': undefined, '3': undefined },
  storage: undefined,
  ca: undefined,
  serverPublicParams: undefined,
  sealedSender: { trustRoots: [], mode: 'off' },
};
export const phone = phoneAccount();
export const never = new AbortController().signal;

let starts = 0;

export class LinkStage {
  readonly clock = new ManualClock();
  server = new FakeServer(phone);
  store: Store = openMemory();
  events: LinkEvent[] = [];

  parts(on: Store = this.store): LinkParts {
    const platform = testPlatform({ clock: this.clock, random: scriptedRandom(`link ${String(starts++)}`) });
    return { store: on, profile, platform, name: 'My bot', transport: this.server };
  }

  /** Links with a phone that scans each code at once, unless `onUrl` says otherwise. */
  linkWith(
    on: Store = this.store,
    onUrl = (url: string): unknown => this.server.scan(url),
  ): Promise<Account> {
    return link(
      this.parts(on),
      (event) => {
        this.events.push(event);
        if (event.kind === 'url') onUrl(event.url);
      },
      never,
    );
  }

  async keysOf(identity: 'aci' | 'pni', kind: 'ec' | 'signed' | 'kyber'): Promise<number> {
    let confirmed = 0;
    for await (const [, row] of prekeys.scan(this.store, [identity, kind]))
      if (row.confirmedAt !== 0) confirmed++;
    return confirmed;
  }

  async syncRequests(): Promise<number[]> {
    const types: number[] = [];
    for await (const [, row] of outboxRows.scan(this.store, [ACI as Account['aci']])) {
      types.push(proto.Content.decode(row.content).syncMessage?.request?.type ?? 0);
    }
    return types;
  }

  async expectEmpty(): Promise<void> {
    const left: string[] = [];
    for await (const [key] of this.store.scan('')) left.push(key);
    expect(left).toEqual([]);
  }

  async expectLinked(): Promise<Account> {
    const account = await accountCell.get(this.store.batch());
    expect(account).toMatchObject({ aci: ACI, keysUploaded: true, unlinkedAt: null });
    expect(this.server.devices).toHaveLength(1);
    expect(this.server.devices[0]).toMatchObject({ id: account?.deviceId, password: account?.password });
    expect(await pendingLink.get(this.store.batch())).toBeUndefined();
    for (const identity of ['aci', 'pni'] as const) {
      expect(this.server.keys.get(`${identity} ec`)).toBe(100);
      expect([
        await this.keysOf(identity, 'ec'),
        await this.keysOf(identity, 'signed'),
        await this.keysOf(identity, 'kyber'),
      ]).toEqual([100, 1, 101]);
      const state = await prekeyStates.get(this.store.batch(), identity);
      expect(await prekeys.get(this.store.batch(), identity, 'signed', state?.signedId ?? 0)).toBeDefined();
      expect(
        await prekeys.get(this.store.batch(), identity, 'kyber', state?.lastResortId ?? 0),
      ).toMatchObject({
        lastResort: true,
      });
    }
    expect(await this.syncRequests()).toEqual([1, 3, 4, 5]);
    if (!account) throw new Error('no account');
    return account;
  }
}
