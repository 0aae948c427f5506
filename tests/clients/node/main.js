// The program around KafkaJS; see ../README.md. KafkaJS consumes in groups only: there is no `consume` here.
'use strict'

const fs = require('fs')
const readline = require('readline')
const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = require('kafkajs')
const { version } = require('kafkajs/package.json')
const snappy = require('snappyjs')
const { readMessages } = require('./records.js')

// KafkaJS brings gzip alone. The pure JavaScript snappy suits the blocks; Kafka's own framing around them is optional
// when produced.
CompressionCodecs[CompressionTypes.Snappy] = () => ({
  compress: async (encoder) => snappy.compress(encoder.buffer),
  decompress: async (buffer) => snappy.uncompress(buffer),
})

const CODECS = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy }
const RETRY = { initialRetryTime: 50, maxRetryTime: 500, retries: 20 }
const MESSAGES_AT_ONCE = 1000
const MESSAGES_AT_ONCE_WHEN_CUT = 50

class Program {
  constructor(bootstrap) {
    this.bootstrap = bootstrap
    this.admin = this.kafka('kafkajs-admin').admin()
    this.connected = this.admin.connect()
  }

  kafka(clientId) {
    return new Kafka({ clientId, brokers: [this.bootstrap], logLevel: logLevel.WARN, retry: RETRY, logCreator: () => logged })
  }

  async version() {
    return `KafkaJS ${version}`
  }

  async createTopic(topic, partitions) {
    const topics = [{ topic, numPartitions: Number(partitions), replicationFactor: 1 }]
    const created = await this.admin.createTopics({ topics, waitForLeaders: true })
    if (!created) throw new Error(`${topic} was there already`)
  }

  async listTopics() {
    return (await this.admin.listTopics()).sort()
  }

  async deleteTopic(topic) {
    await this.admin.deleteTopics({ topics: [topic] })
  }

  async produce(topic, codec, clientId, mode, path) {
    // KafkaJS sends one request at a time, each awaited: that keeps the order.
    const producer = this.kafka(clientId).producer({
      allowAutoTopicCreation: false,
      idempotent: mode === 'idempotent',
      maxInFlightRequests: 1,
      retry: RETRY,
    })
    await producer.connect()
    const messages = readMessages(path)
    const step = clientId.startsWith('cut-') ? MESSAGES_AT_ONCE_WHEN_CUT : MESSAGES_AT_ONCE
    for (let start = 0; start < messages.length; start += step) {
      await producer.send({
        topic,
        acks: -1,
        compression: CODECS[codec],
        messages: messages.slice(start, start + step),
      })
    }
    await producer.disconnect()
    return messages.length
  }

  async offset(topic, partition, spec) {
    const offsets =
      spec === 'earliest' || spec === 'latest'
        ? await this.admin.fetchTopicOffsets(topic)
        : await this.admin.fetchTopicOffsetsByTimestamp(topic, Number(spec))
    const found = offsets.find((offset) => offset.partition === Number(partition))
    return { earliest: found.low, latest: found.high }[spec] ?? found.offset
  }

  async deleteRecords(topic, partition, before) {
    await this.admin.deleteTopicRecords({ topic, partitions: [{ partition: Number(partition), offset: before }] })
    return this.offset(topic, partition, 'earliest')
  }

  async join(group, topic, path, _protocol) {
    this.processed = 0
    this.member = this.kafka(`member-${group}`).consumer({
      groupId: group,
      sessionTimeout: 6000,
      heartbeatInterval: 500,
      retry: RETRY,
      maxWaitTimeInMs: 200,
    })
    await this.member.connect()
    await this.member.subscribe({ topics: [topic], fromBeginning: true })
    const eachBatch = async ({ batch, resolveOffset, commitOffsetsIfNecessary, heartbeat }) => {
      const line = (message) => `${batch.partition} ${message.offset} ${message.value}\n`
      fs.appendFileSync(path, batch.messages.map(line).join(''))
      this.processed += batch.messages.length
      resolveOffset(batch.lastOffset())
      await commitOffsetsIfNecessary({
        topics: [{ topic, partitions: [{ partition: batch.partition, offset: `${BigInt(batch.lastOffset()) + 1n}` }] }],
      })
      await heartbeat()
    }
    await this.member.run({ autoCommit: false, eachBatchAutoResolve: false, eachBatch })
  }

  async leave() {
    await this.member.disconnect()
    return this.processed
  }

  async committed(group, topic, partitions) {
    const [{ partitions: found }] = await this.admin.fetchOffsets({ groupId: group, topics: [topic] })
    const at = (partition) => found.find((offset) => offset.partition === partition)?.offset ?? '-1'
    return Array.from({ length: Number(partitions) }, (_, partition) => at(partition))
  }
}

function logged({ namespace, log }) {
  process.stderr.write(`${namespace} ${JSON.stringify(log)}\n`)
}

async function answer(program, line) {
  const [command, ...words] = line.split('\t')
  try {
    await program.connected
    const result = await program[command.replace(/-./g, (dash) => dash[1].toUpperCase())](...words)
    return ['ok'].concat(result ?? [])
  } catch (error) {
    process.stderr.write(`${error.stack}\n`)
    return ['error', String(error).replace(/[\n\t]/g, ' ')]
  }
}

async function main() {
  const program = new Program(process.argv[2])
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(`${(await answer(program, line)).join('\t')}\n`)
  }
  process.exit(0)
}

main()
