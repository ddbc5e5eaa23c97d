/** What the doctor says about a profile, by the names of its lines. */
import type { Check } from '../../src/doctor/check.ts';
import { examineServer, type DoctorParts } from '../../src/doctor/doctor.ts';
import { systemPlatform } from '../../src/platform.ts';
import { parseProfile, type Profile } from '../../src/service/profile.ts';

const never = new AbortController().signal;

export async function byName(checks: AsyncIterable<Check>): Promise<Record<string, Check>> {
  const found: Record<string, Check> = {};
  for await (const check of checks) found[check.name] = check;
  return found;
}

export function profileOf(file: object): Profile {
  return parseProfile(JSON.stringify(file), '/');
}

export function examined(file: object, options: Partial<DoctorParts> = {}): Promise<Record<string, Check>> {
  const parts = { profile: profileOf(file), platform: systemPlatform(), slow: false, ...options };
  return byName(examineServer(parts, never));
}

/** Names of the lines in one state. */
export function namesOf(checks: Record<string, Check>, state: Check['state']): string[] {
  return Object.values(checks)
    .filter((check) => check.state === state)
    .map(({ name }) => name);
}
