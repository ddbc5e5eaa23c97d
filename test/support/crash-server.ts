/**
 * The server of the crash walks: the bot's sockets in front of a hub, and a mailbox that is emptied only by acks. It counts
 * what leaves the bot (upgrades, requests, answers to deliveries) and lets one of these go wrong.
 */
import { BotError } from '../../src/errors.ts';
import type { OpenSocket } from '../../src/transport/connection.ts';
import type { Request } from '../../src/transport/request.ts';
import type { SocketOptions } from '../../src/transport/socket.ts';
import { FakePeer } from './fake-socket.ts';
import type { Hub } from './hub.ts';
import type { Peer } from './peer.ts';
import type { Bytes } from '../../src/bytes.ts';

/**
 * `lost`: the socket ends and the server has not heard it. `unanswered`: the server has, and the socket ends before its
 * answer. `silent`: a request is carried out and never answered, an ack never arrives, and the socket stays.
 * `crash-before`, `crash-after`: the process is gone just before it leaves, or when the server has it.
 */
export type SendFaultKind = 'lost' | 'unanswered' | 'silent' | 'crash-before' | 'crash-after';

export const SEND_FAULT_KINDS: readonly SendFaultKind[] = [
  'lost',
  'unanswered',
  'silent',
  'crash-before',
  'crash-after',
];

export interface SendFault {
  /** 1 is the first. */
  readonly at: number;
  readonly kind: SendFaultKind;
}

/** One process of the bot, as the server sees it. */
export interface Generation {
  readonly fault: SendFault | undefined;
  /** Ends the process. */
  readonly crash: () => void;
  /** Nothing that it still says is heard. */
  dead: boolean;
  /** What has left. */
  sends: number;
  struck: boolean;
}

export class CrashServer {
  readonly #hub: Hub;
  readonly #bot: Peer;
  /** Envelopes that the bot has not acked, by guid. */
  readonly mailbox = new Map<string, Bytes>();
  /** Asked with every request of the bot that leaves, heard or not. */
  readonly onLeaving: (request: Request) => void;
  readonly #sockets = new Set<ServerSocket>();

  constructor(hub: Hub, bot: Peer, onLeaving: (request: Request) => void) {
    this.#hub = hub;
    this.#bot = bot;
    this.onLeaving = onLeaving;
  }

  push(guid: string, envelope: Bytes): void {
    this.mailbox.set(guid, envelope);
    for (const socket of this.#sockets) {
      if (socket.options.credentials !== undefined) socket.hand(guid, envelope);
    }
  }

  /** The process is gone: its sockets end. */
  bury(generation: Generation): void {
    generation.dead = true;
    for (const socket of [...this.#sockets]) if (socket.generation === generation) socket.hangUp(1006);
  }

  openFor(generation: Generation): OpenSocket {
    return async (options, signal) => {
      await Promise.resolve();
      signal.throwIfAborted();
      const fault = this.take(generation);
      if (fault === 'lost' || fault === 'silent' || generation.dead) {
        throw new BotError('SERVER_UNREACHABLE', 'no connection (a test said so)');
      }
      const socket = new ServerSocket(options, this, generation);
      this.#sockets.add(socket);
      queueMicrotask(() => {
        if (fault === 'unanswered' || generation.dead) socket.hangUp(1006);
        else socket.begin(this.mailbox);
      });
      return socket.socket;
    };
  }

  closed(socket: ServerSocket): void {
    this.#sockets.delete(socket);
  }

  /** Counts a thing that leaves. @returns what goes wrong with it */
  take(generation: Generation): 'lost' | 'unanswered' | 'silent' | undefined {
    if (generation.dead) return 'lost';
    generation.sends++;
    const { fault } = generation;
    if (fault?.at !== generation.sends) return undefined;
    generation.struck = true;
    if (fault.kind === 'crash-before') {
      generation.crash();
      return 'lost';
    }
    if (fault.kind !== 'crash-after') return fault.kind;
    // The store is gone at once, so that nothing more can be learnt; the server still hears this one.
    generation.crash();
    return 'unanswered';
  }

  async carryOut(
    request: Request,
  ): Promise<{ status: number; headers: Readonly<Record<string, string>>; body: Bytes }> {
    return this.#hub.requester(this.#bot).request(request);
  }
}

class ServerSocket extends FakePeer {
  readonly generation: Generation;
  readonly #server: CrashServer;
  readonly #handed = new Map<bigint, string>();
  #over = false;

  constructor(options: SocketOptions, server: CrashServer, generation: Generation) {
    super(options, () => 'silence');
    this.generation = generation;
    this.#server = server;
  }

  /** Hands over what waits, and says that this was all. */
  begin(mailbox: ReadonlyMap<string, Bytes>): void {
    if (this.options.credentials === undefined) return;
    for (const [guid, envelope] of mailbox) this.hand(guid, envelope);
    this.drained();
  }

  hand(guid: string, envelope: Bytes): void {
    if (!this.#over) this.#handed.set(this.deliver(envelope), guid);
  }

  override hangUp(code: number, reason?: string): void {
    this.#over = true;
    this.#server.closed(this);
    super.hangUp(code, reason);
  }

  override send(bytes: Uint8Array): void {
    if (this.#over) return;
    const [requests, answers] = [this.requests.length, this.answers.length];
    super.send(bytes); // decodes and records it
    if (this.generation.dead) return;
    const request = this.requests[requests];
    if (request !== undefined) this.#onRequest(request, this.ids[requests] ?? 0);
    for (const { id, status } of this.answers.slice(answers)) this.#onAnswer(id, status);
  }

  #onRequest(request: Request, id: number): void {
    const fault = this.#server.take(this.generation);
    if (!this.generation.dead || fault === 'unanswered') this.#server.onLeaving(request);
    if (fault === 'lost') {
      this.#end();
      return;
    }
    this.#server.carryOut(request).then(
      (response) => {
        if (fault === undefined) this.answer(id, response);
        if (fault === 'unanswered') this.#end();
      },
      () => {
        this.answer(id, { status: 500 });
      },
    );
  }

  #onAnswer(id: bigint, status: number): void {
    const guid = this.#handed.get(id);
    if (guid === undefined) return; // the word that the queue is empty
    const fault = this.#server.take(this.generation);
    if (fault !== 'lost' && fault !== 'silent' && status === 200) this.#server.mailbox.delete(guid);
    if (fault === 'lost' || fault === 'unanswered') this.#end();
  }

  #end(): void {
    queueMicrotask(() => {
      this.hangUp(1006);
    });
  }
}
