/**
 * Origin agent: ordinary HTTPS to the operator's storage and CDNs, with the CA of the profile (protocol brief, 1.1).
 */
import { Agent } from 'undici';
import type { Profile } from './profile.ts';

/** For one request or a few; whoever has it destroys it. @param timeoutMs of silence, before the headers and within the body */
export function originAgent(profile: Profile, timeoutMs: number): Agent {
  return new Agent({
    connect: profile.ca === undefined ? {} : { ca: profile.ca },
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
  });
}
