/**
 * Server profile: the one file that says how to reach a server (decisions, CLI contract).
 */
import type { Bytes } from '../bytes.ts';

export interface Profile {
  readonly name: string;
  /** Origin of chat: `https://host:port`, or `http://` on a loopback address. */
  readonly chat: string;
  /** Origins by CDN number. */
  readonly cdn: Readonly<Record<'0' | '2' | '3', string | undefined>>;
  readonly storage: string | undefined;
  /** PEM. */
  readonly ca: string | undefined;
  readonly serverPublicParams: Bytes | undefined;
  readonly sealedSender: {
    /** 33 bytes each. */
    readonly trustRoots: readonly Bytes[];
    /** `off` when the profile says so, or names no trust roots. */
    readonly mode: 'auto' | 'off';
  };
}
