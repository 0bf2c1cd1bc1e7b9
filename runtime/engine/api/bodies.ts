/** Largest JSON body that is read, bytes: a long chat is a few; a grammar or a template some more. */
export const MOST_BODY_BYTES = 16 * 1024 * 1024;
