// Reads the XML of List Blobs as it comes, piece by piece, with saxes, which refuses what is not well-formed.
// list-blobs.ts feeds it; what an element means for a blob is list-item.ts's to say.
import { SaxesParser, type SaxesTagPlain } from 'saxes';

/** `<Blob>` or `<BlobPrefix>`. The maps are its reader's own, and good only until the next entry. */
export interface ListingEntry {
  readonly isPrefix: boolean;
  readonly name: string;
  /** Texts right in the entry, by element: `Snapshot`, `VersionId`, `Deleted` … */
  readonly fields: ReadonlyMap<string, string>;
  /** Texts in `<Properties>`. */
  readonly properties: ReadonlyMap<string, string>;
  /** As written, in their order; a key may come twice. Good for longer, too. */
  readonly metadata: readonly (readonly [key: string, value: string])[];
  /** The metadata are under a customer's key, and not told. */
  readonly isSealed: boolean;
}

/** Depths of elements, the root's being 1: EnumerationResults / Blobs / Blob / Properties / Etag. */
const LIST = 2;
const ENTRY = 3;
const FIELD = 4;
const VALUE = 5;

/** One answer. Methods throw Error for what is no listing; the reader is then of no more use. */
export class ListingXml {
  readonly #parser = new SaxesParser<{ xmlns: false; position: false }>({ xmlns: false, position: false });
  readonly #onEntry: (entry: ListingEntry) => void;
  /** Names of the open elements by their depth; what lies deeper than values is counted only. */
  readonly #open: string[] = [];
  #depth = 0;
  #text = '';
  #isIn: { readonly isPrefix: boolean } | undefined;
  #name: string | undefined;
  #isEncoded = false;
  #isSealed = false;
  #hasList = false;
  #next = '';
  readonly #fields = new Map<string, string>();
  readonly #properties = new Map<string, string>();
  #metadata: (readonly [string, string])[] = [];

  constructor(onEntry: (entry: ListingEntry) => void) {
    this.#onEntry = onEntry;
    const parser = this.#parser;
    const text = (piece: string): void => {
      this.#text += piece;
    };
    parser.on('doctype', () => {
      throw new Error('a document type, which no listing has');
    });
    parser.on('opentag', (tag) => {
      this.#opened(tag);
    });
    parser.on('closetag', ({ name }) => {
      this.#closed(name);
    });
    parser.on('text', text);
    parser.on('cdata', text);
  }

  write(piece: string): void {
    this.#parser.write(piece);
  }

  /** Ends the answer, and says the marker of the next page: empty after the last. */
  end(): string {
    this.#parser.close();
    if (!this.#hasList) throw new Error('no list of blobs in it');
    return this.#next;
  }

  #opened({ name, attributes }: SaxesTagPlain): void {
    this.#depth += 1;
    const depth = this.#depth;
    this.#text = '';
    if (depth > VALUE) return;
    this.#open[depth] = name;
    if (depth === 1 && name !== 'EnumerationResults') throw new Error(`<${name}> where a listing begins`);
    else if (depth === LIST && name === 'Blobs') this.#hasList = true;
    else if (depth === ENTRY && this.#open[LIST] === 'Blobs') this.#entered(name);
    else if (this.#isIn && depth === FIELD && name === 'Name')
      this.#isEncoded = attributes['Encoded']?.toLowerCase() === 'true';
    else if (this.#isIn && depth === FIELD && name === 'Metadata')
      this.#isSealed = attributes['Encrypted']?.toLowerCase() === 'true';
  }

  #entered(name: string): void {
    if (name !== 'Blob' && name !== 'BlobPrefix') return;
    this.#isIn = { isPrefix: name === 'BlobPrefix' };
    this.#name = undefined;
    this.#isEncoded = false;
    this.#isSealed = false;
    this.#fields.clear();
    this.#properties.clear();
    this.#metadata = [];
  }

  #closed(name: string): void {
    const depth = this.#depth;
    this.#depth -= 1;
    const text = this.#text;
    this.#text = '';
    if (depth === LIST && name === 'NextMarker') this.#next = text;
    if (!this.#isIn) return;
    if (depth === VALUE) this.#valued(name, text);
    else if (depth === FIELD) this.#fielded(name, text);
    else if (depth === ENTRY) this.#left(this.#isIn.isPrefix);
  }

  #valued(name: string, text: string): void {
    const within = this.#open[FIELD];
    if (within === 'Properties') this.#properties.set(name, text);
    else if (within === 'Metadata') this.#metadata.push([name, text]);
    else if (within === 'Name') throw new Error('a name with an element in it');
  }

  #fielded(name: string, text: string): void {
    if (name !== 'Name') {
      if (name !== 'Properties' && name !== 'Metadata') this.#fields.set(name, text);
      return;
    }
    // Since version 2021-02-12 of the service: a name that XML cannot hold comes percent-encoded, all of it.
    this.#name = this.#isEncoded ? decodeURIComponent(text) : text;
  }

  #left(isPrefix: boolean): void {
    this.#isIn = undefined;
    const name = this.#name;
    if (name === undefined || name === '') throw new Error('a blob without a name');
    this.#onEntry({
      isPrefix,
      name,
      fields: this.#fields,
      properties: this.#properties,
      metadata: this.#metadata,
      isSealed: this.#isSealed,
    });
  }
}
