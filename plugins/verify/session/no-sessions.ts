/**
 * No sessions: for a page, which has no libsignal. Its runs are of profile 1 and end with a trusted key.
 */
import type { SessionOpener } from '../machine/settle.ts';

const none = (): Promise<never> => Promise.reject(new Error('profile 1 opens no session'));

export const noSessions: SessionOpener = {
  trust: () => Promise.resolve({ verdict: 'verified', hasSession: false }),
  servedKey: () => Promise.resolve(undefined),
  prepare: none,
  openSession: none,
  takeSession: none,
  sealDone: none,
  openDone: none,
};
