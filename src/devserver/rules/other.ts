/**
 * What is left: remote config by dialect, and profiles, whose access the mock checks only half.
 */
import { checkAccess, readServiceId } from './access.ts';
import type { Answer, Call, Rule } from './rule.ts';

export const OTHER_RULES: readonly Rule[] = [
  { verb: 'GET', path: '/v1/config', auth: 'device', handle: config },
  { verb: 'GET', path: '/v2/config', auth: 'device', handle: config },
  { verb: 'GET', path: '/v1/profile/:id', auth: 'any', handle: profile },
  { verb: 'GET', path: '/v1/profile/:id/:version', auth: 'any', handle: profile },
  { verb: 'GET', path: '/v1/profile/:id/:version/:request', auth: 'any', handle: profile },
];

function config(call: Call): Promise<Answer> | Answer {
  return call.path === call.state.dialect.configPath ? call.forward() : { status: 404 };
}

async function profile(call: Call): Promise<Answer> {
  await checkAccess(call, call.params[0] ?? '');
  const answer = await call.forward();
  const version = call.params[1];
  const [primary] = await call.state.mock.devicesOf(readServiceId(call.params[0] ?? ''));
  const known = primary && call.state.factsOf(primary).profileVersion;
  if (answer.status !== 200 || typeof answer.body !== 'object' || known === undefined) return answer;
  // The mock forgets the version; fields of another one are null.
  return version === known ? answer : { ...answer, body: { ...answer.body, name: null } };
}
