/**
 * Reading: a value at once where it is at hand, else later. Most reads of a message are answered from memory, and a
 * promise for each of them would cost more than the reads.
 */

/** Failures are rejections, never thrown at once. */
export type Reading<T> = T | Promise<T>;

/** Goes on with what was read, at once if it is at hand. (Named `then`, it would make a promise of the module.) */
export function onceRead<T, R>(reading: Reading<T>, next: (value: T) => Reading<R>): Reading<R> {
  if (reading instanceof Promise) return reading.then(next);
  try {
    return next(reading);
  } catch (error) {
    return rejection(error);
  }
}

/** A failure. */
export function rejection(error: unknown): Promise<never> {
  return Promise.reject(error instanceof Error ? error : new Error(String(error)));
}
