/**
 * What a send says beside type and content, carried through the mock in the one number that it passes on unread.
 */
export interface SendFlags {
  readonly urgent: boolean;
  readonly story: boolean;
  readonly online: boolean;
}

const NOT_URGENT = 0x100;
const STORY = 0x200;
const ONLINE = 0x400;

export function packType(type: number, flags: SendFlags): number {
  return type | (flags.urgent ? 0 : NOT_URGENT) | (flags.story ? STORY : 0) | (flags.online ? ONLINE : 0);
}

export function unpackType(packed: number): SendFlags & { readonly type: number } {
  return {
    type: packed & 0xff,
    urgent: (packed & NOT_URGENT) === 0,
    story: (packed & STORY) !== 0,
    online: (packed & ONLINE) !== 0,
  };
}
