/**
 * Origin agent: ordinary HTTPS to the operator's storage and CDNs, with the CA of the profile (protocol brief, 1.1).
 */
import { Agent } from 'undici';
import { BotError, describe } from '../errors.ts';
import type { Profile } from './profile.ts';

/** For one request or a few; whoever has it destroys it. @param timeoutMs of silence, before the headers and within the body */
export function originAgent(profile: Profile, timeoutMs: number): Agent {
  return new Agent({
    connect: profile.ca === undefined ? {} : { ca: profile.ca },
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
  });
}

/** How long a CDN may be silent. */
const CDN_TIMEOUT_MS = 60_000;

/**
 * Runs `use` with an agent for the operator's CDNs.
 * @throws BotError `SERVER_UNREACHABLE` where the network failed; what `use` throws; the signal's reason
 */
export async function atCdn<T>(
  profile: Profile,
  signal: AbortSignal,
  use: (agent: Agent) => Promise<T>,
): Promise<T> {
  const agent = originAgent(profile, CDN_TIMEOUT_MS);
  try {
    return await use(agent);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof BotError) throw error;
    throw new BotError('SERVER_UNREACHABLE', `the CDN cannot be reached: ${describe(error)}`, {
      cause: error,
    });
  } finally {
    await agent.destroy();
  }
}
