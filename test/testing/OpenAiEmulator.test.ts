import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Redacted, Result, Schema, Stream } from "effect"
import { connect } from "node:net"
import OpenAI7 from "openai"
import OpenAI6 from "openai6"
import { InvalidOptions } from "../../src/InvalidOptions.ts"
import { Fault, OpenAiEmulator } from "../../src/testing/index.ts"
import { DocumentId } from "../../src/vectorstore/VectorStore.ts"
import { eventually } from "./eventually.ts"

// The two clients' types are not assignable to each other; the calls used here are the same.
const versions = { 6: OpenAI6 as unknown as typeof OpenAI7, 7: OpenAI7 }
const clientOf = (emulator: OpenAiEmulator.Emulator, apiKey = Redacted.value(emulator.apiKey), version: 6 | 7 = 7) =>
  new versions[version]({ apiKey, baseURL: emulator.url, maxRetries: 0, logLevel: "off" })

const attempt = <A>(run: (signal: AbortSignal) => Promise<A>) =>
  Effect.result(
    Effect.tryPromise({ try: run, catch: (error) => error as Record<string, unknown> & { message: string } })
  )

const failed = <A, E>(result: Result.Result<A, E>): E => {
  assert.isTrue(Result.isFailure(result), "expected a failure")
  return (result as Result.Failure<A, E>).failure
}

const documents = [
  { id: DocumentId.make("a"), title: "Bone", content: "Microstructure of newborn bone", attributes: { year: 2020 } },
  { id: DocumentId.make("b"), content: "Cardiac muscle of the adult mouse", attributes: { year: 2021, kind: "mouse" } }
]

for (const version of [6, 7] as const) {
  it.live(`openai ${version}: a file goes up, is attached, found, listed, changed and deleted`, () =>
    Effect.gen(function*() {
      const emulator = yield* OpenAiEmulator.make({ processing: "300 millis" })
      const client = clientOf(emulator, undefined, version)
      const store = yield* Effect.promise(() => client.vectorStores.create({ name: "mine", metadata: { a: "b" } }))
      const file = yield* Effect.promise(() =>
        client.files.create({ file: new File(["Kinases phosphorylate proteins"], "k.txt"), purpose: "assistants" })
      )
      assert.strictEqual(file.bytes, 30)
      const attached = yield* Effect.promise(() =>
        client.vectorStores.files.create(store.id, { file_id: file.id, attributes: { year: 2001 } })
      )
      assert.strictEqual(attached.status, "in_progress")
      const early = yield* Effect.promise(() => client.vectorStores.search(store.id, { query: "kinases" }))
      assert.deepStrictEqual(early.data, [])
      const ready = yield* eventually(
        Effect.promise(() => client.vectorStores.files.retrieve(file.id, { vector_store_id: store.id })),
        ({ status }) => status === "completed"
      )
      assert.strictEqual(ready.status, "completed")
      const found = yield* Effect.promise(() => client.vectorStores.search(store.id, { query: "kinase" }))
      assert.deepStrictEqual(found.data.map((it) => [it.file_id, it.filename, it.attributes]), [[
        file.id,
        "k.txt",
        { year: 2001 }
      ]])
      assert.isTrue(found.data[0]!.score > 0 && found.data[0]!.score < 1)
      yield* Effect.promise(() =>
        client.vectorStores.files.update(file.id, { vector_store_id: store.id, attributes: { year: 2002 } })
      )
      const filtered = yield* Effect.promise(() =>
        client.vectorStores.search(store.id, { query: "kinase", filters: { type: "gt", key: "year", value: 2001 } })
      )
      assert.strictEqual(filtered.data.length, 1)
      const content = yield* Effect.promise(() =>
        client.vectorStores.files.content(file.id, { vector_store_id: store.id })
      )
      assert.deepStrictEqual(content.data, [{ type: "text", text: "Kinases phosphorylate proteins" }])
      assert.strictEqual((yield* Effect.promise(() => client.files.delete(file.id))).deleted, true)
      const after = yield* Effect.promise(() => client.vectorStores.retrieve(store.id))
      assert.strictEqual(after.file_counts.total, 0)
      assert.deepStrictEqual(yield* emulator.orphans, [])
    }))

  it.live(`openai ${version}: a batch completes with failed files in it`, () =>
    Effect.gen(function*() {
      const emulator = yield* OpenAiEmulator.make()
      const client = clientOf(emulator, undefined, version)
      yield* emulator.fault(Fault.processingFailed("server_error", "bad"))
      const ids: Array<string> = []
      for (const text of ["good one", "bad one", "good two"]) {
        const file = yield* Effect.promise(() =>
          client.files.create({ file: new File([text], `${text}.txt`), purpose: "assistants" })
        )
        ids.push(file.id)
      }
      const batch = yield* Effect.promise(() =>
        client.vectorStores.fileBatches.create(emulator.vectorStore, { files: ids.map((file_id) => ({ file_id })) })
      )
      const done = yield* Effect.promise(() =>
        client.vectorStores.fileBatches.retrieve(batch.id, { vector_store_id: emulator.vectorStore })
      )
      assert.strictEqual(done.status, "completed")
      assert.deepStrictEqual(done.file_counts, { in_progress: 0, completed: 2, failed: 1, cancelled: 0, total: 3 })
      const bad = yield* Effect.promise(() =>
        client.vectorStores.fileBatches.listFiles(batch.id, { vector_store_id: emulator.vectorStore, filter: "failed" })
      )
      assert.deepStrictEqual(bad.data.map((it) => it.last_error?.code), ["server_error"])
    }))

  it.live(`openai ${version}: errors have the API's status, code and headers`, () =>
    Effect.gen(function*() {
      const emulator = yield* OpenAiEmulator.make({ documents })
      const client = clientOf(emulator, undefined, version)
      const unknown = failed(yield* attempt(() => client.vectorStores.retrieve("vs_none")))
      assert.strictEqual(unknown["status"], 404)
      assert.match(String(unknown["requestID"]), /^req_/)
      const wrongKey = failed(yield* attempt(() => clientOf(emulator, "sk-wrong", version).vectorStores.list()))
      assert.deepStrictEqual([wrongKey["status"], wrongKey["code"]], [401, "invalid_api_key"])
      const tooMany = failed(
        yield* attempt(() => client.vectorStores.search(emulator.vectorStore, { query: "x", max_num_results: 51 }))
      )
      assert.strictEqual(tooMany["status"], 400)
      const model = failed(yield* attempt(() => client.embeddings.create({ model: "none", input: "x" })))
      assert.deepStrictEqual([model["status"], model["code"]], [404, "model_not_found"])
      const tokens = failed(
        yield* attempt(() =>
          client.embeddings.create({
            model: "text-embedding-3-small",
            input: Array.from({ length: 60 }, () => "word ".repeat(5_000))
          })
        )
      )
      assert.deepStrictEqual([tokens["status"], tokens["code"]], [400, "max_tokens_per_request"])
      // An empty id is sent, and becomes the list.
      const list = yield* Effect.promise(() => client.vectorStores.retrieve(""))
      assert.strictEqual((list as unknown as { object: string }).object, "list")
    }))
}

it.live("documents given at the start are searched, filtered and embedded for real", () =>
  Effect.gen(function*() {
    const emulator = yield* OpenAiEmulator.make({ documents })
    const client = clientOf(emulator)
    const found = yield* Effect.promise(() => client.vectorStores.search(emulator.vectorStore, { query: "adult mice" }))
    assert.deepStrictEqual(found.data.map((it) => it.attributes?.["doc_id"]), ["b", "a"])
    const ne = yield* Effect.promise(() =>
      client.vectorStores.search(emulator.vectorStore, {
        query: "bone muscle",
        filters: { type: "ne", key: "kind", value: "rat" }
      })
    )
    assert.deepStrictEqual(ne.data.map((it) => it.attributes?.["doc_id"]), ["b"])
    const embedded = yield* Effect.promise(() =>
      client.embeddings.create({
        model: "text-embedding-3-small",
        dimensions: 256,
        input: ["bone tissue", "bone tissue of mice", "tax law"]
      })
    )
    const [one, two, three] = embedded.data.map((it) => it.embedding)
    const dot = (x: ReadonlyArray<number>, y: ReadonlyArray<number>) => x.reduce((sum, it, i) => sum + it * y[i]!, 0)
    assert.strictEqual(one!.length, 256)
    assert.approximately(dot(one!, one!), 1, 1e-5)
    assert.isAbove(dot(one!, two!), dot(one!, three!) + 0.3)
  }))

it.live("cuts files into passages as they were attached", () =>
  Effect.gen(function*() {
    const emulator = yield* OpenAiEmulator.make()
    const client = clientOf(emulator)
    const text = "zebras graze on the wide savanna. ".repeat(60)
    const longest = (size: number, overlap: number) =>
      Effect.promise(async () => {
        const file = await client.files.create({ file: new File([text], "z.txt"), purpose: "assistants" })
        const store = await client.vectorStores.create({})
        await client.vectorStores.files.create(store.id, {
          file_id: file.id,
          chunking_strategy: {
            type: "static",
            static: { max_chunk_size_tokens: size, chunk_overlap_tokens: overlap }
          }
        })
        const { data } = await client.vectorStores.search(store.id, { query: "zebras", max_num_results: 50 })
        return [data.length, Math.max(...data.map(({ content }) => content[0]!.text.length))]
      })
    assert.deepStrictEqual(yield* longest(100, 0), [Math.ceil(text.length / 400), 400])
    assert.deepStrictEqual(yield* longest(100, 50), [Math.ceil((text.length - 200) / 200), 400])
    assert.deepStrictEqual(yield* longest(4_096, 0), [1, text.length])
  }))

it.live("lists go by pages, newest first, and end", () =>
  Effect.gen(function*() {
    const emulator = yield* OpenAiEmulator.make({
      documents: Array.from({ length: 45 }, (_, i) => ({ id: DocumentId.make(`d${i}`), content: `text ${i}` }))
    })
    const client = clientOf(emulator)
    const pages = Stream.fromAsyncIterable(client.vectorStores.files.list(emulator.vectorStore), (error) => error)
    const seen = (yield* Stream.runCollect(pages)).map((file) => file.attributes?.["doc_id"])
    assert.deepStrictEqual(seen, Array.from({ length: 45 }, (_, i) => `d${44 - i}`))
    assert.strictEqual((yield* emulator.requests)["vectorStores.files.list"], 3)
  }))

it.live("lists go back by pages, too, and refuse a cursor, an order and a status that are none", () =>
  Effect.gen(function*() {
    const emulator = yield* OpenAiEmulator.make({
      documents: Array.from({ length: 10 }, (_, i) => ({ id: DocumentId.make(`d${i}`), content: `text ${i}` }))
    })
    const client = clientOf(emulator)
    const list = (query: object) =>
      attempt(() => client.vectorStores.files.list(emulator.vectorStore, query as { limit?: number }))
    const page = (query: object) =>
      Effect.map(list(query), (result) => {
        const { data, has_more } = Result.getOrThrow(result)
        return [data.map(({ attributes }) => attributes?.["doc_id"]), has_more]
      })
    const { data } = yield* Effect.promise(() => client.vectorStores.files.list(emulator.vectorStore, { order: "asc" }))
    const [third, eighth] = [data[2]!.id, data[7]!.id]
    assert.deepStrictEqual(yield* page({ order: "asc", limit: 3, before: eighth }), [["d4", "d5", "d6"], true])
    assert.deepStrictEqual(yield* page({ order: "asc", limit: 3, before: third }), [["d0", "d1"], false])
    assert.deepStrictEqual(yield* page({ order: "asc", limit: 3, after: third, before: eighth }), [
      ["d3", "d4", "d5"],
      true
    ])
    const wrong = [
      { before: "nobody" },
      { after: "nobody" },
      { order: "upwards" },
      { filter: "finished" }
    ]
    for (const query of wrong) {
      const error = failed(yield* list(query))
      assert.deepStrictEqual([error["status"], error["param"]], [400, Object.keys(query)[0]])
    }
  }))

it.live("a deleted vector store takes its batches with it", () =>
  Effect.gen(function*() {
    const client = clientOf(yield* OpenAiEmulator.make())
    const store = yield* Effect.promise(() => client.vectorStores.create({}))
    const file = yield* Effect.promise(() =>
      client.files.create({ file: new File(["text"], "x.txt"), purpose: "assistants" })
    )
    const batch = yield* Effect.promise(() => client.vectorStores.fileBatches.create(store.id, { file_ids: [file.id] }))
    const ask = attempt(() => client.vectorStores.fileBatches.retrieve(batch.id, { vector_store_id: store.id }))
    assert.isTrue(Result.isSuccess(yield* ask))
    yield* Effect.promise(() => client.vectorStores.delete(store.id))
    assert.strictEqual(failed(yield* ask)["status"], 404)
  }))

it.live("embeds tokens as it embeds texts, and knows no model but the API's", () =>
  Effect.gen(function*() {
    const client = clientOf(yield* OpenAiEmulator.make())
    const embed = (input: string | Array<number> | Array<Array<number>>, model = "text-embedding-3-small") =>
      attempt(() => client.embeddings.create({ model, input, dimensions: 8 }))
    const one = Result.getOrThrow(yield* embed([1, 2, 3]))
    assert.deepStrictEqual([one.data.length, one.usage.total_tokens], [1, 3])
    const two = Result.getOrThrow(yield* embed([[1, 2, 3], [4]]))
    assert.deepStrictEqual([two.data.length, two.usage.total_tokens], [2, 4])
    assert.deepStrictEqual(two.data[0]?.embedding, one.data[0]?.embedding)
    const long = Array.from({ length: 8_193 }, () => 1)
    assert.strictEqual(failed(yield* embed(long))["code"], "context_length_exceeded")
    for (const input of [[], [[]], [1.5]]) assert.strictEqual(failed(yield* embed(input))["status"], 400)
    assert.strictEqual(failed(yield* embed("x", "constructor"))["code"], "model_not_found")
  }))

it.live("a purpose that is none, and a path that is none, are refused", () =>
  Effect.gen(function*() {
    const emulator = yield* OpenAiEmulator.make()
    const file = new File(["text"], "x.txt")
    const error = failed(yield* attempt(() => clientOf(emulator).files.create({ file, purpose: "answers" as "batch" })))
    assert.deepStrictEqual([error["status"], error["param"]], [400, "purpose"])
    assert.strictEqual(yield* emulator.files, 0)
    const headers = { authorization: `Bearer ${Redacted.value(emulator.apiKey)}` }
    const { status } = yield* Effect.promise(() => fetch(`${emulator.url}/files/%`, { headers }))
    assert.strictEqual(status, 404)
  }))

// What a client sees of each fault, by status or by the name of what it throws.
const sights: ReadonlyArray<
  readonly [name: string, fault: Fault.Fault, seen: (error: Record<string, unknown>) => void]
> = [
  ["a rate limit names its wait in every form", Fault.rateLimited(7_000), (error) => {
    const headers = error["headers"] as Headers
    assert.strictEqual(error["status"], 429)
    assert.deepStrictEqual([headers.get("retry-after"), headers.get("retry-after-ms")], ["7", "7000"])
    const remaining = headers.get("x-ratelimit-remaining-requests")
    assert.deepStrictEqual([remaining, headers.get("x-ratelimit-reset-requests")], ["0", "7s"])
  }],
  ["an exhausted quota is a 429 of its own code", Fault.quotaExhausted(), (error) => {
    assert.deepStrictEqual([error["status"], error["code"], error["type"]], [
      429,
      "credit_balance_exhausted",
      "insufficient_quota"
    ])
  }],
  ["an internal error", Fault.status(500), (error) => assert.strictEqual(error["status"], 500)],
  ["a gateway's web page", Fault.badGateway, (error) => assert.strictEqual(error["status"], 502)],
  ["an overload with a wait", Fault.unavailable(90_000), (error) => {
    assert.deepStrictEqual([error["status"], (error["headers"] as Headers).get("retry-after")], [503, "90"])
  }],
  ["a request too large", Fault.status(413), (error) => assert.strictEqual(error["status"], 413)],
  ["x-should-retry", Fault.status(500, { "x-should-retry": "false" }), (error) => {
    assert.strictEqual((error["headers"] as Headers).get("x-should-retry"), "false")
  }],
  ["a reset before the request is done", Fault.reset(), (error) => {
    assert.include(String((error["cause"] as Error | undefined)?.cause), "ECONNRESET")
  }],
  ["a reset in the body", Fault.reset("body"), (error) => assert.strictEqual(error["message"], "terminated")],
  ["a body cut off", Fault.body("truncated"), (error) => assert.strictEqual(error["message"], "terminated")],
  ["a body of broken JSON", Fault.body("malformed"), (error) => assert.strictEqual(error["name"], "SyntaxError")]
]
for (const [name, fault, seen] of sights) {
  it.live(`shows the client ${name}, once`, () =>
    Effect.gen(function*() {
      const emulator = yield* OpenAiEmulator.make({ documents })
      const client = clientOf(emulator)
      yield* emulator.fault(fault, { route: "vectorStores.retrieve", times: 1 })
      const call = attempt(() => client.vectorStores.retrieve(emulator.vectorStore))
      seen(failed(yield* call))
      assert.isTrue(Result.isSuccess(yield* call))
      assert.strictEqual((yield* emulator.requests)["vectorStores.retrieve"], 2)
    }))
}

it.live("answers 200 with a body that is no answer: text and nothing", () =>
  Effect.gen(function*() {
    const emulator = yield* OpenAiEmulator.make()
    const client = clientOf(emulator)
    yield* emulator.fault(Fault.body("text"), { times: 1 })
    yield* emulator.fault(Fault.body("empty"), { times: 1 })
    const call = Effect.promise(() => client.vectorStores.retrieve(emulator.vectorStore))
    assert.deepStrictEqual([yield* call, yield* call] as ReadonlyArray<unknown>, ["OK", undefined])
  }))

for (const at of ["headers", "body"] as const) {
  it.live(`hangs at the ${at} until the client gives up, and frees the connection then`, () =>
    Effect.gen(function*() {
      const emulator = yield* OpenAiEmulator.make({ documents })
      const client = clientOf(emulator)
      yield* emulator.fault(Fault.hang(at))
      const result = yield* attempt((signal) => client.vectorStores.list({}, { signal })).pipe(
        Effect.timeoutOption("100 millis")
      )
      assert.strictEqual(result._tag, "None")
      assert.strictEqual(yield* eventually(emulator.connections, (open) => open === 0), 0)
    }))
}

it.live("a reset after the request was done leaves its effect", () =>
  Effect.gen(function*() {
    const emulator = yield* OpenAiEmulator.make()
    const client = clientOf(emulator)
    const upload = attempt(() => client.files.create({ file: new File(["text"], "x.txt"), purpose: "assistants" }))
    yield* emulator.fault(Fault.reset("request"), { route: "files.create", times: 1 })
    assert.isTrue(Result.isFailure(yield* upload))
    assert.strictEqual(yield* emulator.files, 0)
    yield* emulator.fault(Fault.reset("answer"), { route: "files.create", times: 1 })
    assert.isTrue(Result.isFailure(yield* upload))
    assert.deepStrictEqual(yield* emulator.orphans, ["x.txt"])
  }))

it.live("counts a fault down, lets requests pass first, and leaves other routes alone", () =>
  Effect.gen(function*() {
    const emulator = yield* OpenAiEmulator.make()
    const client = clientOf(emulator)
    yield* emulator.fault(Fault.status(500), { route: "vectorStores.list", after: 1, times: 2 })
    const statuses: Array<boolean> = []
    for (let i = 0; i < 5; i++) statuses.push(Result.isSuccess(yield* attempt(() => client.vectorStores.list())))
    assert.deepStrictEqual(statuses, [true, false, false, true, true])
    const retrieve = attempt(() => client.vectorStores.retrieve(emulator.vectorStore))
    assert.isTrue(Result.isSuccess(yield* retrieve.pipe(emulator.during(Fault.status(500), { route: "files.list" }))))
    assert.isTrue(Result.isFailure(yield* retrieve.pipe(emulator.during(Fault.status(500)))))
    assert.isTrue(Result.isSuccess(yield* retrieve))
  }))

it.live("refuses a fault that would hit always or never, and names the field", () =>
  Effect.gen(function*() {
    const emulator = yield* OpenAiEmulator.make()
    const wrong: ReadonlyArray<readonly [field: string, fault: unknown, options?: object]> = [
      ["times", Fault.status(500), { times: 0 }],
      ["times", Fault.status(500), { times: NaN }],
      ["after", Fault.status(500), { after: -1 }],
      ["probability", Fault.status(500), { probability: 30 }],
      ["route", Fault.status(500), { route: "vectorStore.search" }],
      ["fault.millis", Fault.latency(NaN)],
      ["fault.status", Fault.status(99)],
      ["fault", { _tag: "Statu", status: 500 }]
    ]
    for (const [field, fault, options] of wrong) {
      const defect = yield* Effect.catchDefect(
        emulator.fault(fault as Fault.Fault, options),
        (defect) => Effect.succeed(defect)
      )
      assert.deepStrictEqual(
        [defect instanceof InvalidOptions && defect.module, defect instanceof InvalidOptions && defect.field],
        ["Fault", field]
      )
    }
    yield* emulator.fault(Fault.status(500), { times: undefined, route: undefined, after: 0, probability: 0 })
    assert.lengthOf(yield* emulator.rules, 1)
  }))

it("draws the same chances from the same seed", () => {
  const draw = (seed: number) => {
    const board = Fault.makeBoard(seed)
    board.add({ fault: Fault.status(500), probability: 0.3 })
    return Array.from({ length: 1_000 }, () => board.hit("any").length)
  }
  assert.deepStrictEqual(draw(7), draw(7))
  assert.notDeepEqual(draw(7), draw(8))
  assert.approximately(draw(7).reduce((sum, it) => sum + it, 0), 300, 60)
})

it.live("is stopped and started on the same port with its data", () =>
  Effect.gen(function*() {
    const emulator = yield* OpenAiEmulator.make({ documents })
    const client = clientOf(emulator)
    const call = attempt(() => client.vectorStores.retrieve(emulator.vectorStore))
    const hanging = yield* emulator.fault(Fault.hang(), { times: 1 })
    const inFlight = yield* Effect.forkChild(call)
    yield* eventually(emulator.connections, (open) => open > 0)
    yield* emulator.stop
    assert.isTrue(Result.isFailure(yield* Fiber.join(inFlight)))
    yield* emulator.clear(hanging)
    const down = failed(yield* call)
    assert.include(String((down["cause"] as Error | undefined)?.cause), "ECONNREFUSED")
    yield* emulator.start
    const up = yield* call
    assert.strictEqual(Result.getOrThrow(up).file_counts.total, 2)
  }))

it.live("another process switches it by its control path", () =>
  Effect.gen(function*() {
    const emulator = yield* OpenAiEmulator.make()
    const client = clientOf(emulator)
    const control = (method: string, path: string, body?: unknown) =>
      Effect.promise(() =>
        fetch(new URL(path, emulator.url), {
          method,
          ...(body === undefined ? {} : { body: JSON.stringify(body) })
        }).then(async (response) => ({ status: response.status, body: await response.json() }))
      )
    const { body: added } = yield* control("POST", "/_control/faults", { fault: Fault.status(500), times: 9 })
    const call = attempt(() => client.vectorStores.list())
    assert.isTrue(Result.isFailure(yield* call))
    const id = Schema.decodeUnknownSync(Schema.Struct({ id: Schema.String }))(added).id
    yield* control("DELETE", `/_control/faults/${id}`)
    assert.isTrue(Result.isSuccess(yield* call))
    assert.strictEqual((yield* control("POST", "/_control/faults", { fault: { _tag: "Nonsense" } })).status, 400)
    const misspelt = { fault: Fault.status(500), route: "vectorStore.search" }
    assert.strictEqual((yield* control("POST", "/_control/faults", misspelt)).status, 400)
    yield* control("POST", "/_control/documents", { documents })
    const store = yield* Effect.promise(() => client.vectorStores.retrieve(emulator.vectorStore))
    assert.strictEqual(store.file_counts.completed, 2)
    yield* control("POST", "/_control/outage", { millis: 300 })
    assert.isTrue(Result.isFailure(yield* eventually(call, Result.isFailure)))
    assert.isTrue(Result.isSuccess(yield* eventually(call, Result.isSuccess)))
    assert.strictEqual((yield* emulator.requests)["vectorStores.retrieve"], 1)
    // Of two at once the longer one is the outage.
    const began = Date.now()
    yield* Effect.all([100, 400].map((millis) => control("POST", "/_control/outage", { millis })), { concurrency: 2 })
    assert.isTrue(Result.isFailure(yield* eventually(call, Result.isFailure)))
    assert.isTrue(Result.isSuccess(yield* eventually(call, Result.isSuccess)))
    assert.isAtLeast(Date.now() - began, 400)
  }))

it.live("tells that its port is taken, and leaves no socket when its scope closes", () =>
  Effect.gen(function*() {
    const port = yield* Effect.scoped(Effect.gen(function*() {
      const emulator = yield* OpenAiEmulator.make()
      const second = failed(yield* Effect.result(Effect.scoped(OpenAiEmulator.make({ port: emulator.port }))))
      assert.deepStrictEqual([second._tag, second.code], ["ListenFailed", "EADDRINUSE"])
      yield* emulator.fault(Fault.hang())
      const client = clientOf(emulator)
      yield* Effect.forkChild(attempt(() => client.vectorStores.list()))
      yield* eventually(emulator.connections, (open) => open > 0)
      return emulator.port
    }))
    const refused = yield* Effect.callback<string>((resume) => {
      const socket = connect(port, "127.0.0.1")
      socket.on("error", (error: NodeJS.ErrnoException) => resume(Effect.succeed(error.code ?? "")))
      socket.on("connect", () => resume(Effect.succeed("connected")))
    })
    assert.strictEqual(refused, "ECONNREFUSED")
  }))
