/**
 * The table of rules, and the way from a request to its row.
 */
import { DEVICE_RULES } from './devices.ts';
import { KEY_RULES } from './keys.ts';
import { limitAccount } from './limits.ts';
import { LINK_RULES } from './link.ts';
import { MESSAGE_RULES } from './messages.ts';
import { MULTI_RECIPIENT_RULES } from './multi-recipient.ts';
import { OTHER_RULES } from './other.ts';
import { PROFILE_RULES } from './profile.ts';
import { PROVISIONING_RULES } from './provisioning.ts';
import { REGISTRATION_RULES } from './registration.ts';
import { Refusal, type Answer, type Call, type Rule } from './rule.ts';
import { VERIFICATION_RULES } from './verification.ts';

const RULES: readonly Rule[] = [
  ...LINK_RULES,
  ...KEY_RULES,
  ...MULTI_RECIPIENT_RULES, // its path looks like that of a single send
  ...MESSAGE_RULES,
  ...PROVISIONING_RULES,
  ...DEVICE_RULES,
  ...VERIFICATION_RULES,
  ...REGISTRATION_RULES,
  ...PROFILE_RULES,
  ...OTHER_RULES,
];

/** Answers a call by its row, or by the mock where there is none. @returns undefined when no answer is sent */
export async function answer(call: Omit<Call, 'params'>): Promise<Answer | undefined> {
  try {
    return await decide(call);
  } catch (error) {
    if (error instanceof Refusal) return error.answer;
    throw error;
  }
}

async function decide(call: Omit<Call, 'params'>): Promise<Answer | undefined> {
  limitAccount(call);
  for (const rule of RULES) {
    const params = rule.verb === call.verb ? match(rule.path, call.path) : undefined;
    if (params === undefined) continue;
    if (rule.auth === 'device' && call.device === undefined) return { status: 401 };
    return rule.handle({ ...call, params });
  }
  return call.forward();
}

function match(pattern: string, path: string): string[] | undefined {
  const wanted = pattern.split('/');
  const parts = path.split('/');
  if (wanted.length !== parts.length) return undefined;
  const params: string[] = [];
  for (const [i, part] of parts.entries()) {
    if (wanted[i]?.startsWith(':') === true && part !== '') params.push(decodeURIComponent(part));
    else if (wanted[i] !== part) return undefined;
  }
  return params;
}
