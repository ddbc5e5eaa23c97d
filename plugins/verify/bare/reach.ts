/**
 * Reach: how `verify bare` gets from an address, or a pipe, to a duplex.
 */
import type { Socket } from 'node:net';
import type { SubcommandCall } from '../../../src/index.ts';
import { Candidates, type CandidatesParts } from './candidates.ts';
import type { LinkOption } from './command-line.ts';
import type { Duplex } from './duplex.ts';
import { connect, listen } from './links.ts';
import { overSocket, overStdio } from './streams.ts';

export interface Reached {
  readonly duplex: Duplex;
  /** Where nobody is there yet. */
  readonly waiting?: Waiting;
}

export interface Waiting {
  readonly port: number;
  readonly candidates: Candidates;
}

/**
 * Takes stdout, dials, or opens a port; who listens goes on to wait while the run begins.
 * @throws BotError `SERVER_UNREACHABLE`, `PORT_TAKEN`; the reason of `call.signal`
 */
export async function reach(
  call: SubcommandCall,
  link: LinkOption,
  code: Omit<CandidatesParts, 'onOver'>,
): Promise<Reached> {
  const { signal, stdin } = call;
  const { clock } = call.platform;
  if (link.kind === 'stdio') return { duplex: overStdio(stdin, call.takeStdout()) };
  if (link.kind === 'connect') return { duplex: overSocket(await connect(link.at, signal), clock) };
  const over = new AbortController();
  const onOver = (): void => {
    over.abort();
  };
  const candidates = new Candidates({ ...code, onOver });
  const onConnection = (socket: Socket): void => {
    candidates.add(overSocket(socket, clock));
  };
  const port = await listen(link.at, onConnection, over.signal);
  return { duplex: candidates, waiting: { port, candidates } };
}
