/**
 * Verification sessions (protocol brief, section 14, steps 1 to 4). The mock keeps them; order, values and ids are checked
 * here. The captcha is the literal of the open source servers, the code 111111.
 */
import { z } from 'zod';
import { javaId } from '../provisioning-relay.ts';
import type { ServerState, Verification } from '../state.ts';
import { limitRate } from './limits.ts';
import { readJson, Refusal, type Answer, type Call, type Rule } from './rule.ts';

const VERIFICATION_LIFE_MS = 600_000;
/** What registers any number here: a captcha token, and the code that the mock pretends to have sent. */
export const REGISTRATION = { captcha: 'noop.noop.registration.noop', code: '111111' } as const;
/** prefix.sitekey.action.token: the client of the open source servers takes any token. */
const CAPTCHA = /^noop\.noop\.registration\..+$/;

export const E164 = z.string().regex(/^\+[1-9]\d{6,14}$/, 'is no E.164 number');

const MOCK_SESSION = z.object({ id: z.string(), allowedToRequestCode: z.boolean(), verified: z.boolean() });
const BEGIN = z.object({ number: E164 });
const UPDATE = z.object({ captcha: z.string().nullish() });
const REQUEST = z.object({ transport: z.enum(['sms', 'voice']), client: z.string() });
const SUBMIT = z.object({ code: z.string().min(1) });

const PATH = '/v1/verification/session';

export const VERIFICATION_RULES: readonly Rule[] = [
  { verb: 'POST', path: PATH, auth: 'any', handle: begin },
  { verb: 'GET', path: `${PATH}/:id`, auth: 'any', handle: look },
  { verb: 'PATCH', path: `${PATH}/:id`, auth: 'any', handle: update },
  { verb: 'POST', path: `${PATH}/:id/code`, auth: 'any', handle: requestCode },
  { verb: 'PUT', path: `${PATH}/:id/code`, auth: 'any', handle: submitCode },
];

async function begin(call: Call): Promise<Answer> {
  const { state } = call;
  const { number } = readJson(call, BEGIN);
  const answer = await call.forward({ body: { number } });
  const session = MOCK_SESSION.parse(answer.body);
  const id = javaId(session.id);
  state.verifications.set(id, { number, mockId: session.id, begunAt: state.clock.now() });
  return write(answer, id);
}

async function look(call: Call): Promise<Answer> {
  const { id, verification } = find(call);
  return write(await call.forward({ path: `${PATH}/${verification.mockId}` }), id);
}

async function update(call: Call): Promise<Answer> {
  const { id, verification } = find(call);
  const { captcha } = readJson(call, UPDATE);
  limitRate(call, 'captcha', verification.number);
  if (typeof captcha === 'string' && !CAPTCHA.test(captcha)) throw new Refusal(400);
  const body = typeof captcha === 'string' ? { captcha } : {};
  return write(await call.forward({ path: `${PATH}/${verification.mockId}`, body }), id);
}

async function requestCode(call: Call): Promise<Answer> {
  const { id, verification } = find(call);
  const { transport } = readJson(call, REQUEST);
  const session = sessionOf(call.state, verification);
  if (session?.allowedToRequestCode !== true) throw new Refusal(409, written({ ...session }, id));
  const body = { transport, client: 'desktop' };
  return write(await call.forward({ path: `${PATH}/${verification.mockId}/code`, body }), id);
}

async function submitCode(call: Call): Promise<Answer> {
  const { id, verification } = find(call);
  const { code } = readJson(call, SUBMIT);
  if (sessionOf(call.state, verification)?.verified === true) {
    throw new Refusal(409, written({ ...sessionOf(call.state, verification) }, id));
  }
  return write(await call.forward({ path: `${PATH}/${verification.mockId}/code`, body: { code } }), id);
}

/** @throws Refusal 404 when there is none, or none any more */
function find(call: Call): { id: string; verification: Verification } {
  const id = call.params[0] ?? '';
  const verification = liveVerification(call.state, id);
  if (verification === undefined) throw new Refusal(404);
  return { id, verification };
}

/** The session of this id, unless it is unknown or older than ten minutes. */
export function liveVerification(state: ServerState, id: string): Verification | undefined {
  const verification = state.verifications.get(id);
  if (verification === undefined) return undefined;
  return state.clock.now() - verification.begunAt > VERIFICATION_LIFE_MS ? undefined : verification;
}

export function isVerified(state: ServerState, verification: Verification): boolean {
  return sessionOf(state, verification)?.verified === true;
}

type MockSession = z.output<typeof MOCK_SESSION>;

function sessionOf(state: ServerState, { mockId }: Verification): MockSession | undefined {
  return state.mock.server.getVerificationSession(mockId)?.session;
}

function write(answer: Answer, id: string): Answer {
  return answer.status === 200 ? { ...answer, body: written(answer.body as object, id) } : answer;
}

/** Nothing more is asked for once a code may be requested. */
function written(session: object, id: string): object {
  const allowed = MOCK_SESSION.safeParse(session).data?.allowedToRequestCode === true;
  return { ...session, id, ...(allowed && { requestedInformation: [] }) };
}
