/** Rows of each commit of the process that writes until it is killed. */
export const ROWS_PER_COMMIT = 4;
