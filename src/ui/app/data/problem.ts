// What went wrong, in the words of the server.

export interface Mistake {
  pointer?: string;
  line?: number;
  column?: number;
  message: string;
}

export class Problem extends Error {
  /** Stable, for programs, such as NOT_FOUND. */
  readonly code: string;
  /** Mistakes in a document or in parameters. */
  readonly mistakes: Mistake[];

  constructor(message: string, code: string, mistakes: Mistake[] = []) {
    super(message);
    this.name = "Problem";
    this.code = code;
    this.mistakes = mistakes;
  }

  /** Of an error as GraphQL gives it. */
  static of(error: { message: string; extensions?: Record<string, unknown> | undefined }): Problem {
    const { code, errors } = error.extensions ?? {};
    const mistakes = Array.isArray(errors) ? (errors as Mistake[]) : [];
    return new Problem(error.message, typeof code === "string" ? code : "UNKNOWN", mistakes);
  }

  static from(error: unknown): Problem {
    if (error instanceof Problem) return error;
    const message = error instanceof Error ? error.message : String(error);
    return new Problem(message, "UNREACHABLE");
  }

  /** Another token would help, or any. */
  get needsToken(): boolean {
    return this.code === "UNAUTHENTICATED";
  }
}
