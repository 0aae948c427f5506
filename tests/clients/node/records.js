// The record files that are exchanged with the harness; see ../README.md.
'use strict'

const fs = require('fs')

class Reader {
  constructor(data) {
    this.data = data
    this.at = 0
  }
  number32() {
    this.at += 4
    return this.data.readInt32BE(this.at - 4)
  }
  number64() {
    this.at += 8
    return this.data.readBigInt64BE(this.at - 8)
  }
  bytes() {
    const length = this.number32()
    if (length < 0) return null
    this.at += length
    return this.data.subarray(this.at - length, this.at)
  }
}

// Headers become KafkaJS's object, in which a repeated key is an array.
function readMessages(path) {
  const reader = new Reader(fs.readFileSync(path))
  const messages = []
  while (reader.at < reader.data.length) {
    const partition = reader.number32()
    reader.number64()
    const timestamp = String(reader.number64())
    const [key, value] = [reader.bytes(), reader.bytes()]
    const headers = {}
    for (let left = reader.number32(); left > 0; left--) {
      const name = reader.bytes().toString()
      const header = reader.bytes()
      headers[name] = name in headers ? [].concat(headers[name], [header]) : header
    }
    messages.push({ partition, timestamp, key, value, headers })
  }
  return messages
}

module.exports = { readMessages }
