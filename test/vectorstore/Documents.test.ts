import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, it } from "@effect/vitest"
import { Effect, FileSystem, Path, type Scope } from "effect"
import * as Documents from "../../src/vectorstore/Documents.ts"
import * as MemoryStore from "../../src/vectorstore/MemoryStore.ts"
import { Document, DocumentId, type Service } from "../../src/vectorstore/VectorStore.ts"

/** A folder with these files, gone with the scope. */
const folder = Effect.fnUntraced(function*(files: Readonly<Record<string, string | Uint8Array>>) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const root = yield* fs.makeTempDirectoryScoped()
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(root, name)
    yield* fs.makeDirectory(path.dirname(file), { recursive: true })
    yield* typeof content === "string" ? fs.writeFileString(file, content) : fs.writeFile(file, content)
  }
  return { root, file: (name: string) => path.join(root, name) }
})

const test = (
  name: string,
  run: Effect.Effect<void, unknown, NodeServices.NodeServices | Scope.Scope>
) => it.live(name, () => run.pipe(Effect.scoped, Effect.provide(NodeServices.layer)))

test(
  "reads what is sound of a JSONL file, and names the line of what is not",
  Effect.gen(function*() {
    const { file } = yield* folder({
      "a.jsonl": [
        "\ufeff{\"id\":\"1\",\"title\":\"T\",\"text\":\"one\"}",
        "{\"id\":2,\"content\":\"two\",\"metadata\":{\"k\":1}}\r",
        "",
        "{\"id\":\"3\",",
        "{\"id\":\"4\"}",
        "{\"id\":\"\",\"text\":\"x\"}",
        "[]",
        "{\"id\":\"5\",\"title\":null,\"text\":\"five\"}"
      ].join("\n")
    })
    const source = yield* Documents.read(file("a.jsonl"))
    assert.deepStrictEqual<ReadonlyArray<object>>(source.documents, [
      { id: "1", title: "T", content: "one" },
      { id: "2", content: "two", attributes: { k: 1 } },
      { id: "5", content: "five" }
    ])
    assert.deepStrictEqual(source.problems.map(({ line }) => line), [4, 5, 6, 7])
    for (const { file: named } of source.problems) assert.isTrue(named.endsWith("a.jsonl"))
  })
)

test(
  "says of a line without a text what the text is called, and of a text that is wrong, as it is called there",
  Effect.gen(function*() {
    const lines = ["{\"id\":\"1\"}", "{\"id\":\"1\",\"text\":\"\"}", "{\"id\":\"1\",\"content\":\"\"}"]
    const { file } = yield* folder({ "a.jsonl": lines.join("\n") })
    const { problems } = yield* Documents.read(file("a.jsonl"))
    assert.deepStrictEqual(problems.map(({ message }) => /(?:text|content)(?="[^"]*$)/.exec(message)?.[0]), [
      "text",
      "text",
      "content"
    ])
  })
)

test(
  "cuts Markdown where a paragraph ends, and loses no word",
  Effect.gen(function*() {
    const paragraphs = Array.from({ length: 30 }, (_, i) => `Paragraph ${i} ${"word ".repeat(80)}end${i}.`)
    const { file } = yield* folder({
      "notes.md": `# The title\n\n${paragraphs.join("\n\n")}\n\n${"x".repeat(9_000)}\u{1f600}`
    })
    const { documents, problems } = yield* Documents.read(file("notes.md"))
    assert.deepStrictEqual(problems, [])
    assert.isAbove(documents.length, 3)
    assert.isTrue(documents.every(({ content }) => content.length <= 4_000 && content.isWellFormed()))
    assert.isTrue(documents.every(({ title }) => title === "The title"))
    assert.strictEqual(new Set(documents.map(({ id }) => id)).size, documents.length)
    const all = documents.map(({ content }) => content).join("\n\n")
    for (const [i] of paragraphs.entries()) assert.include(all, `end${i}.`)
    assert.strictEqual(all.split("x").length - 1, 9_000)
    // A pair of surrogates at the place of the cut is not parted.
    const pair = yield* folder({ "pair.md": `${"x".repeat(3_999)}\u{1f600}${"x".repeat(9)}` })
    const around = (yield* Documents.read(pair.file("pair.md"))).documents.map(({ content }) => content)
    assert.deepStrictEqual(around, ["x".repeat(3_999), `\u{1f600}${"x".repeat(9)}`])
  })
)

test(
  "finds the files of a folder, and says what it cannot take",
  Effect.gen(function*() {
    const { file, root } = yield* folder({
      "b.txt": "b",
      "a/c.MD": "c",
      "a/.hidden.md": "h",
      "node_modules/x.md": "x",
      "image.png": "p"
    })
    const { files, problems } = yield* Documents.find([
      root,
      file("b.txt"),
      `${root}/./a/../b.txt`,
      file("image.png"),
      file("nowhere.md")
    ])
    assert.deepStrictEqual(files, [file("a/c.MD"), file("b.txt")])
    assert.deepStrictEqual(problems.map((problem) => problem.file), [file("image.png"), file("nowhere.md")])
  })
)

test(
  "a link that leads nowhere is a problem of its own, and one that leads back is not followed again",
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const { file, root } = yield* folder({ "a.md": "a", "c/d.md": "d", "z.md": "z" })
    yield* fs.symlink(file("nowhere"), file("b-broken.md"))
    yield* fs.symlink(".", file("c/loop"))
    yield* fs.symlink(root, file("c/up"))
    const { files, problems } = yield* Documents.find([root])
    assert.deepStrictEqual(files, [file("a.md"), file("c/d.md"), file("z.md")])
    assert.deepStrictEqual(problems.map((problem) => problem.file), [file("b-broken.md")])
  })
)

test(
  "a file that is empty or no text is a problem, not a failure",
  Effect.gen(function*() {
    const { file } = yield* folder({ "empty.md": " \n", "latin1.txt": new Uint8Array([0x66, 0xfc, 0x72]) })
    for (const name of ["empty.md", "latin1.txt", "gone.txt"]) {
      const { documents, problems } = yield* Documents.read(file(name))
      assert.deepStrictEqual(documents, [])
      assert.strictEqual(problems.length, 1, name)
    }
  })
)

test(
  "what a text no longer has is not found any more, and is again when the text has it back",
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const paragraph = (word: string): string => `${word} ${"words ".repeat(600)}`
    const all = ["alpha", "beta", "gamma"].map(paragraph).join("\n\n")
    const { file } = yield* folder({ "n.md": all, "n.md#2.md": "delta" })
    const store = yield* MemoryStore.makeLexical()
    const ingest = Effect.fnUntraced(function*(name: string, text: string) {
      yield* fs.writeFileString(file(name), text)
      return yield* Documents.ingest(store, [yield* Documents.read(file(name))])
    })
    const found = Effect.filter(
      ["alpha", "beta", "gamma", "delta"],
      (query) => Effect.map(store.search({ query }), ({ hits }) => hits.length > 0)
    )
    yield* ingest("n.md#2.md", "delta")
    yield* ingest("n.md", all)
    assert.deepStrictEqual(yield* found, ["alpha", "beta", "gamma", "delta"])
    yield* ingest("n.md", paragraph("alpha"))
    assert.deepStrictEqual(yield* found, ["alpha", "delta"])
    assert.deepStrictEqual(yield* ingest("n.md", all), { stored: 3, alreadyStored: 0, failed: [] })
    assert.deepStrictEqual(yield* found, ["alpha", "beta", "gamma", "delta"])
    // Only a part in the middle is another.
    yield* ingest("n.md", all.replace("beta", "delta"))
    assert.deepStrictEqual(yield* found, ["alpha", "gamma", "delta"])
    assert.deepStrictEqual(yield* ingest("n.md", all), { stored: 3, alreadyStored: 0, failed: [] })
    assert.deepStrictEqual(yield* found, ["alpha", "beta", "gamma", "delta"])
    assert.deepStrictEqual(yield* ingest("n.md", all), { stored: 0, alreadyStored: 3, failed: [] })
    yield* ingest("n.md", "")
    assert.deepStrictEqual(yield* found, ["delta"])
  })
)

test(
  "looks at the parts of a text together, whatever is next to them, and sees each that is gone or another",
  Effect.gen(function*() {
    const text = Array.from({ length: 40 }, (_, i) => `part ${i} ${"words ".repeat(600)}`).join("\n\n")
    const { file } = yield* folder({ "n.md": text })
    const memory = yield* MemoryStore.makeLexical()
    let asked = 0
    const store: Service = {
      ...memory,
      get: (id) => (asked++, memory.get(id)),
      list: (request) => (asked++, memory.list(request))
    }
    const source = yield* Documents.read(file("n.md"))
    const { documents } = source
    const [first] = documents
    assert.strictEqual(documents.length, 40)
    for (const near of ["", "!", "#", "#x", "#1", "#41x", "$"]) {
      yield* memory.add(Document.make({ id: DocumentId.make(`${first!.id}${near}`), content: "near" }))
    }
    yield* Documents.ingest(store, [source])
    asked = 0
    assert.strictEqual((yield* Documents.ingest(store, [source])).alreadyStored, 40)
    assert.isAtMost(asked, 5)
    for (const { id } of [documents[0]!, documents[9]!, documents[39]!]) {
      yield* memory.delete(id)
      assert.strictEqual((yield* Documents.ingest(store, [source])).stored, 40)
      yield* memory.update(id, { content: "another" })
      assert.strictEqual((yield* Documents.ingest(store, [source])).stored, 40)
    }
    assert.strictEqual((yield* memory.stats).documents, 46)
  })
)

test(
  "stores a file once, and again when its text changed",
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const { file } = yield* folder({ "a.jsonl": "{\"id\":\"1\",\"text\":\"one\"}\n{\"id\":\"2\",\"text\":\"two\"}" })
    const store = yield* MemoryStore.makeLexical()
    const run = (again = false) =>
      Effect.flatMap(Documents.read(file("a.jsonl")), (source) => Documents.ingest(store, [source], { again }))
    assert.deepStrictEqual(yield* run(), { stored: 2, alreadyStored: 0, failed: [] })
    assert.deepStrictEqual(yield* run(), { stored: 0, alreadyStored: 2, failed: [] })
    assert.deepStrictEqual(yield* run(true), { stored: 2, alreadyStored: 0, failed: [] })
    yield* fs.writeFileString(file("a.jsonl"), "{\"id\":\"1\",\"text\":\"changed\"}")
    assert.deepStrictEqual(yield* run(), { stored: 1, alreadyStored: 0, failed: [] })
    assert.strictEqual((yield* store.stats).documents, 2)
  })
)

test(
  "tells how many documents of all files are done",
  Effect.gen(function*() {
    const { file } = yield* folder({
      "a.jsonl": "{\"id\":\"1\",\"text\":\"one\"}\n{\"id\":\"2\",\"text\":\"two\"}",
      "b.md": "b"
    })
    const told: Array<readonly [done: number, total: number]> = []
    const sources = yield* Effect.forEach([file("a.jsonl"), file("b.md")], Documents.read)
    yield* Documents.ingest(yield* MemoryStore.makeLexical(), sources, {
      onProgress: (done, total) => Effect.sync(() => told.push([done, total]))
    })
    assert.deepStrictEqual(told, [[2, 3], [3, 3]])
  })
)
