/** A limit in real time for what parties do together: when it is over, the failure says who waits for what. */
import { listCeremonies } from '../../../src/rounds/operator.ts';
import { outboxRows } from '../../../src/store/tables.ts';
import type { Group, Party } from './group.ts';

/**
 * @param group whose parties are looked at when the time is over
 * @param limitMs less than what the test has
 * @throws what `work` rejects with; Error with a line for each party when the time is over
 */
export async function inTime<T>(group: Group, limitMs: number, work: () => Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise<'over'>((resolve) => {
    timer = setTimeout(() => {
      resolve('over');
    }, limitMs);
  });
  try {
    const end = await Promise.race([work().then((value) => ({ value })), over]);
    if (end !== 'over') return end.value;
  } finally {
    clearTimeout(timer);
  }
  const lines = await Promise.all(group.parties.map((party, at) => lineOf(party, at)));
  throw new Error(`it is not done after ${String(limitMs / 1000)} s\n${lines.join('\n')}`);
}

async function lineOf(party: Party, at: number): Promise<string> {
  const { connection } = party.running.bot;
  const rows = await rowsOf(party).catch((error: unknown) => [String(error)]); // its store may be with a process of its own
  return `party ${String(at)} (${party.running.aci}) is ${connection}: ${rows.join('; ') || 'waits for nothing'}`;
}

/** What of its store says that something is to come. */
async function rowsOf({ inner }: Party): Promise<string[]> {
  const found: string[] = [];
  for (const { protocol, state, round, waitingFor, deadlineAt } of (await listCeremonies(inner)).ceremonies) {
    if (state !== 'gathering' && state !== 'running') continue;
    const names = waitingFor.map(({ aci }) => aci).join(' and ');
    const left = Math.round((deadlineAt - Date.now()) / 1000);
    found.push(`${protocol} is ${state}, round ${String(round)}, waits ${String(left)} s for ${names}`);
  }
  for await (const [, { kind, recipient, state, attempts, error }] of outboxRows.scan(inner))
    found.push(`${kind} to ${recipient} is ${state} after ${String(attempts)} attempts ${error}`);
  return found;
}
