/**
 * Headers that the server writes into its frames.
 */
import type { ServerState } from './state.ts';

/** On every response, and on requests to the client. */
export function serverHeaders(state: ServerState, more: Readonly<Record<string, string>> = {}): string[] {
  const headers = [`X-Signal-Timestamp:${String(state.clock.now())}`];
  for (const [name, value] of Object.entries(more)) headers.push(`${name}:${value}`);
  return headers;
}

/** On deliveries of `/api/v1/message` (1.6). */
export function deliveryHeaders(state: ServerState): string[] {
  return serverHeaders(state, state.dialect.keyHeader ? { 'X-Signal-Key': 'false' } : {});
}
