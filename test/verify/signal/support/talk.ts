/** Two bots with the plugin that write texts to each other, and what can be done to what they hold. */
import { toBase64, type Bytes } from '../../../../src/bytes.ts';
import { identityRows, sessions } from '../../../../src/store/tables.ts';
import type { Scene } from '../../../support/scene.ts';
import { peerOf, until, type Peer } from './duo.ts';

export class Talk {
  readonly alice: Peer;
  readonly bob: Peer;
  readonly #heard: string[];

  private constructor(alice: Peer, bob: Peer, heard: string[]) {
    this.alice = alice;
    this.bob = bob;
    this.#heard = heard;
  }

  static async begin(scene: Scene, options: Parameters<typeof peerOf>[1] = {}): Promise<Talk> {
    const heard: string[] = [];
    const peer = (): Promise<Peer> =>
      peerOf(scene, {
        ...options,
        configure: (bot) => {
          bot.handle((handlers) => {
            handlers.text((ctx) => heard.push(ctx.text));
          });
        },
      });
    return new Talk(await peer(), await peer(), heard);
  }

  get heard(): readonly string[] {
    return this.#heard;
  }

  say(from: Peer, text: string): Promise<{ timestamp: number }> {
    const to = from === this.alice ? this.bob : this.alice;
    return from.running.bot.send(to.running.aci, { kind: 'text', text });
  }

  async hears(text: string): Promise<void> {
    await until(() => this.#heard.includes(text), `somebody hears: ${text}`);
  }

  /** A text, and that it arrives. */
  async tell(from: Peer, text: string): Promise<void> {
    await this.say(from, text);
    await this.hears(text);
  }
}

export type Middle = ReturnType<Scene['server']['intercept']>;

/** Alice knows Bob, and from then on is told another key of his, which she has seen: a lie that no frame comes under. */
export async function deceiveAlice(scene: Scene, talk: Talk): Promise<Middle> {
  const { alice, bob } = talk;
  await talk.tell(bob, 'hello');
  await talk.tell(alice, 'hello yourself');
  const middle = scene.server.intercept({ between: [alice.aci, bob.aci], deceives: [alice.aci] });
  await forgetSessions(alice, bob);
  await talk.say(alice, 'to a false key');
  await until(async () => (await alice.view(bob)).state === 'changed', 'alice sees another key');
  return middle;
}

/** The sessions are gone, as after a restore. */
export async function forgetSessions(of: Peer, peer: Peer): Promise<void> {
  const { store } = of.running;
  const batch = store.batch();
  for await (const [rest] of sessions.scan(store, ['aci', peer.running.aci]))
    sessions.delete(batch, 'aci', peer.running.aci, Number(rest));
  await batch.commit();
}

/** As if the key that is held had been verified. */
export async function takeForVerified(of: Peer, peer: Peer): Promise<void> {
  const batch = of.running.store.batch();
  const row = await identityRows.get(batch, peer.running.aci);
  if (row === undefined) throw new Error('no key is held');
  identityRows.put(batch, peer.running.aci, { ...row, state: 'verified', verified: true });
  await batch.commit();
}

/** Base64; empty without one. */
export async function pinOf(of: Peer, peer: Peer): Promise<string> {
  return textOf((await of.view(peer)).pin);
}

export function textOf(key: Bytes | undefined): string {
  return toBase64(key ?? new Uint8Array());
}
