/**
 * Told: what `verify bare` prints, as events and as lines for people.
 */
import type { Aci, SubcommandCall, TrustEvent } from '../../../src/index.ts';
import type { Notice } from '../machine/step.ts';
import type { LinkOption } from './command-line.ts';
import type { BarePeer } from './peer.ts';

export class Told {
  readonly #call: SubcommandCall;
  /** Events go to stderr, and are all that goes there. */
  readonly #isMute: boolean;
  readonly #contact: Aci | undefined;

  /** @param contact whom the operator has named */
  constructor(call: SubcommandCall, link: LinkOption, contact: Aci | undefined) {
    this.#call = call;
    this.#contact = contact;
    this.#isMute = link.kind === 'stdio' && call.options['json'] === true;
  }

  code(spoken: string): void {
    this.#call.print(
      { event: 'code', code: spoken },
      () => `Read this out, by phone or in person: ${spoken}`,
    );
  }

  listening(port: number): void {
    this.#call.print({ event: 'listening', port }, () => `listening on port ${String(port)}`);
  }

  message(text: string): void {
    this.#call.print({ event: 'message', text }, () => text.replaceAll('\n', '\\n'));
  }

  verified({ aci, identityKey, check, isAcknowledged }: BarePeer): void {
    const peerIdentityKey = Buffer.from(identityKey).toString('base64');
    const [pinned, acknowledged] = [this.#contact !== undefined, isAcknowledged];
    const event = { event: 'verified', aci, peerIdentityKey, check: check ?? null, acknowledged, pinned };
    this.#call.print(event, () => {
      const digits = check === undefined ? '' : `\nBoth sides see ${check}; compare it if you like.`;
      return `verified: the other side's identity key is ${peerIdentityKey}${this.#nameOf(aci)}${digits}`;
    });
    if (!isAcknowledged) this.#note('The other side has gone before it said that it has verified this one.');
  }

  #nameOf(aci: Aci): string {
    if (this.#contact !== undefined) return `\nThe contact ${aci} is verified with it.`;
    if (this.#call.dataFolder === undefined) return '';
    return `\nIt calls itself ${aci}, which is its word alone: nothing is kept of it. To verify a contact: --contact ${aci}`;
  }

  notice(notice: Notice): void {
    const text = noteOf(notice);
    if (text !== undefined) this.#note(text);
  }

  #note(text: string): void {
    if (!this.#isMute) this.#call.note(text);
  }
}

/** Mode 2 has no service to ask: a key that was known before is out of date, for all that can be said. */
export function showFound(call: SubcommandCall, event: TrustEvent): void {
  if (event.kind !== 'replaced' && event.kind !== 'substituted') return;
  const [identityKey, falseKey] = [event.key, event.falseKey].map((key) =>
    Buffer.from(key).toString('base64'),
  );
  const { kind, aci, at } = event;
  call.print({ event: kind, code: 'IDENTITY_REPLACED', aci, identityKey, falseKey, at }, () => {
    return `IDENTITY_REPLACED: another key was known of ${aci} before, and is replaced. Ask the contact about a new phone.`;
  });
}

function noteOf(notice: Notice): string | undefined {
  if (notice.kind === 'rings') return 'the other side asks to verify';
  if (notice.kind === 'glare' && notice.use === 'theirs')
    return "Both have made a code: the other side's counts.";
  if (notice.kind === 'glare') return 'Both have made a code: yours counts.';
  if (notice.kind !== 'step') return undefined;
  return `step ${String(notice.step)} of 4${notice.waitingFor === 'nobody' ? '' : `, waiting for ${WAITING[notice.waitingFor]}`}`;
}

const WAITING = {
  'own-operator': 'your code',
  'peer-operator': "the other person's code",
  'peer-bot': 'the other program',
} as const;
