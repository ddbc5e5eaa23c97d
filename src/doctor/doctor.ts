/**
 * Doctor: checks one server profile against the server that it names, line by line, each with the remedy.
 * Nothing that it asks takes a key or a message away, or changes anything. The linked device's lines are in linked.ts.
 */
import { dirname } from 'node:path';
import type { Platform } from '../platform.ts';
import { parseProfile, readProfile, type Profile } from '../service/profile.ts';
import { unknownFields, type UnknownField } from '../service/profile-fields.ts';
import { failureOf, ok, skip, walk, warn, type Check, type Finding, type Step } from './check.ts';
import {
  checkCertificateName, checkChain, checkDates, checkDns, checkPort, hostOf, shakeHands, type Shown,
} from './network.ts'; // prettier-ignore
import { checkCdn, checkStorage } from './origins.ts';
import { checkPublicParams, checkTrustRoots } from './parameters.ts';
import {
  checkClock, checkGeneration, checkIdle, checkKeepalive, checkProvisioning, IDLE_TIMES, openAnonymous,
  type Anonymous, type IdleTimes,
} from './sockets.ts'; // prettier-ignore
import { checkAuthorization, checkUpgrade } from './upgrade.ts';

export interface DoctorParts {
  readonly profile: Profile;
  readonly platform: Platform;
  /** Wait out the idle timeout of what is in front. */
  readonly slow: boolean;
  /** Default: 65 s of silence. */
  readonly idle?: IdleTimes;
  /** Names of lines that failed, for the lines of `linkedSteps` to look at; added to. */
  readonly blocked?: Set<string>;
}

/** What earlier lines have found and later ones use. */
interface Visit {
  shown?: Shown;
  anonymous?: Anonymous;
}

/** The first line. @param file absolute @returns it with the profile, where that can be read */
export async function checkProfile(file: string): Promise<{ check: Check; profile?: Profile }> {
  const name = 'profile';
  try {
    const text = await readProfile(file);
    const profile = parseProfile(text, dirname(file));
    return { check: { name, ...profileFinding(profile, unknownFields(text)) }, profile };
  } catch (error) {
    return { check: { name, ...failureOf(error) } };
  }
}

function profileFinding({ name, chat }: Profile, unknown: readonly UnknownField[]): Finding {
  const read = `${name}: ${chat}`;
  if (unknown.length === 0) return ok(read);
  const places = unknown.map(
    ({ name: field, line }) => `${JSON.stringify(field)} (line ${String(line ?? '?')})`,
  );
  const meant = unknown.flatMap((field) =>
    field.meant === undefined ? [] : [`"${field.meant}" in place of ${JSON.stringify(field.name)}`],
  );
  const next = meant.length === 0 ? '' : ` Was ${meant.join(', ')} meant?`;
  return warn(
    `${read}; nothing reads ${places.join(', ')}`,
    `Correct the names of these fields, or take them out.${next}`,
  );
}

/** All lines after the first, for a profile that cannot be read. */
export function untried(): Check[] {
  const because = skip('not tried, because of "profile"');
  return NAMES.map((name) => ({ name, ...because }));
}

/** The server's lines, each as soon as it is known. Throws nothing but the signal's reason. */
export async function* examineServer(parts: DoctorParts, signal: AbortSignal): AsyncGenerator<Check> {
  const visit: Visit = {};
  const { clock } = parts.platform;
  try {
    yield* walk(serverSteps(parts, visit), { clock, blocked: parts.blocked ?? new Set() }, signal);
  } finally {
    visit.anonymous?.socket.terminate();
  }
}

const NAMES = [
  'dns', 'port', 'tls', 'certificate chain', 'certificate name', 'certificate dates', 'upgrade', 'authorization header',
  'anonymous socket', 'clock', 'generation', 'provisioning socket', 'idle timeout', 'trust roots',
  'server public params', 'storage', 'cdn 0', 'cdn 2', 'cdn 3', 'rate limits',
] as const; // prettier-ignore
type Name = (typeof NAMES)[number];

function serverSteps(parts: DoctorParts, visit: Visit): Step[] {
  const { profile, platform } = parts;
  const { secure } = hostOf(profile.chat);
  const plain = skip('plain http, which the profile may name on this machine only');
  const certificate = (
    judge: (shown: Shown) => ReturnType<typeof checkChain>,
  ): Pick<Step, 'needs' | 'run'> => ({
    needs: ['tls'],
    run: () => (visit.shown === undefined ? plain : judge(visit.shown)),
  });
  const onAnonymous = (
    use: (anonymous: Anonymous) => ReturnType<Step['run']>,
  ): Pick<Step, 'needs' | 'run'> => ({
    needs: ['anonymous socket'],
    run: () => (visit.anonymous === undefined ? skip('there is no anonymous socket') : use(visit.anonymous)),
  });
  const idle = parts.idle ?? IDLE_TIMES;
  const steps: Record<Name, Omit<Step, 'name'>> = {
    dns: { run: () => checkDns(profile) },
    port: { needs: ['dns'], run: (signal) => checkPort(profile, signal) },
    tls: {
      needs: ['port'],
      run: async (signal) => {
        if (!secure) return plain;
        const found = await shakeHands(profile, signal);
        if ('state' in found) return found;
        visit.shown = found;
        return ok('comes about');
      },
    },
    'certificate chain': certificate((shown) => checkChain(shown, profile)),
    'certificate name': certificate((shown) => checkCertificateName(shown, profile)),
    'certificate dates': certificate((shown) => checkDates(shown, platform.clock.now())),
    upgrade: {
      needs: ['tls', 'certificate chain', 'certificate name', 'certificate dates'],
      run: (signal) => checkUpgrade(profile, platform, signal),
    },
    'authorization header': {
      needs: ['upgrade'],
      run: (signal) => checkAuthorization(profile, platform, signal),
    },
    'anonymous socket': {
      needs: ['upgrade'],
      run: async (signal) => {
        visit.anonymous = await openAnonymous(profile, platform, signal);
        return await checkKeepalive(visit.anonymous.socket, signal);
      },
    },
    clock: onAnonymous(({ skewMs }) => checkClock(skewMs())),
    generation: {
      needs: ['anonymous socket'],
      run: (signal) =>
        visit.anonymous === undefined
          ? skip('there is no anonymous socket')
          : checkGeneration(visit.anonymous.socket, signal),
    },
    'provisioning socket': {
      needs: ['upgrade'],
      run: (signal) => checkProvisioning(profile, platform, signal),
    },
    'idle timeout': {
      needs: ['anonymous socket'],
      deadlineMs: idle.waitMs + 15_000,
      run: (signal) =>
        parts.slow
          ? checkIdle(profile, platform, idle, signal)
          : skip(`not tried, it takes ${String(Math.ceil(idle.waitMs / 1000))} s: ask for it with --slow`),
    },
    'trust roots': { run: () => checkTrustRoots(profile) },
    'server public params': { run: () => checkPublicParams(profile) },
    storage: { run: (signal) => checkStorage(profile, signal) },
    'cdn 0': { run: (signal) => checkCdn(profile, '0', platform, signal) },
    'cdn 2': { run: (signal) => checkCdn(profile, '2', platform, signal) },
    'cdn 3': { run: (signal) => checkCdn(profile, '3', platform, signal) },
    'rate limits': { run: () => skip(RATE_LIMITS) },
  };
  return NAMES.map((name) => ({ name, ...steps[name] }));
}

/** Protocol brief, 1.9. */
const RATE_LIMITS =
  'cannot be asked for; where the operator has not changed them, one account may fetch the keys of a device six times ' +
  'at once and then every 10 minutes, send to one recipient 60 messages at once and then one a second, and try to ' +
  'link six times at once and then every 2 minutes';
