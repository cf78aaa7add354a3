// Prints npm-mqtt-packet.tsv: what the codec of MQTT.js writes (theirs), what it reads of our packets (ours), and what
// it makes of packets that are none (refused). Run by: npm ci && npm run generate
//
// Columns: which of the three, version, name, the packet in hex, and what it says. A packet is said in one line, the
// same that tests/interop/said.rs makes of ours: strings and bytes in hex, properties by number and in order.

import fs from 'node:fs'
import mqtt from 'mqtt-packet'

const versions = { 3: 'v3_1', 4: 'v3_1_1', 5: 'v5_0' }
const numbers = {
  payloadFormatIndicator: 0x01, messageExpiryInterval: 0x02, contentType: 0x03, responseTopic: 0x08,
  correlationData: 0x09, subscriptionIdentifier: 0x0b, sessionExpiryInterval: 0x11, assignedClientIdentifier: 0x12,
  serverKeepAlive: 0x13, authenticationMethod: 0x15, authenticationData: 0x16, requestProblemInformation: 0x17,
  willDelayInterval: 0x18, requestResponseInformation: 0x19, responseInformation: 0x1a, serverReference: 0x1c,
  reasonString: 0x1f, receiveMaximum: 0x21, topicAliasMaximum: 0x22, topicAlias: 0x23, maximumQoS: 0x24,
  retainAvailable: 0x25, userProperties: 0x26, maximumPacketSize: 0x27, wildcardSubscriptionAvailable: 0x28,
  subscriptionIdentifiersAvailable: 0x29, sharedSubscriptionAvailable: 0x2a
}

const hex = (value) => Buffer.from(value ?? '').toString('hex')
const bit = (value) => (value ? 1 : 0)
const byte = (value) => value.toString(16).padStart(2, '0')

function saidProperties (properties) {
  const said = []
  for (const [name, value] of Object.entries(properties ?? {})) {
    const number = byte(numbers[name])
    if (name === 'userProperties') {
      for (const [key, values] of Object.entries(value)) {
        for (const one of [values].flat()) said.push(`${number}=${hex(key)}:${hex(one)}`)
      }
    } else {
      for (const one of Array.isArray(value) ? value : [value]) {
        const text = typeof one === 'boolean' ? bit(one) : typeof one === 'number' ? one : hex(one)
        said.push(`${number}=${text}`)
      }
    }
  }
  return said.sort()
}

function saidFields (packet, version) {
  switch (packet.cmd) {
    case 'connect': {
      const fields = [`version=${packet.protocolVersion}`, `bridge=${bit(packet.bridgeMode)}`,
        `clean=${bit(packet.clean)}`, `keepalive=${packet.keepalive}`, `client=${hex(packet.clientId)}`]
      if (packet.will) {
        const { topic, payload, qos, retain, properties } = packet.will
        fields.push(`will=${hex(topic)},${hex(payload)},${qos},${bit(retain)}`)
        fields.push(...saidProperties(properties).map((property) => `will${property}`))
      }
      if (packet.username !== undefined) fields.push(`user=${hex(packet.username)}`)
      if (packet.password !== undefined) fields.push(`password=${hex(packet.password)}`)
      return fields
    }
    case 'connack':
      return [`session=${bit(packet.sessionPresent)}`, `code=${version === 5 ? packet.reasonCode : packet.returnCode}`]
    case 'publish': {
      const id = packet.qos > 0 ? [`id=${packet.messageId}`, `dup=${bit(packet.dup)}`] : []
      const { topic, payload, qos, retain } = packet
      return [`topic=${hex(topic)}`, `qos=${qos}`, ...id, `retain=${bit(retain)}`, `payload=${hex(payload)}`]
    }
    case 'puback': case 'pubrec': case 'pubrel': case 'pubcomp':
      return [`id=${packet.messageId}`, `code=${packet.reasonCode ?? 0}`]
    case 'subscribe':
      return [`id=${packet.messageId}`, ...packet.subscriptions.map(({ topic, qos, nl, rap, rh }) =>
        `filter=${hex(topic)},${qos},${bit(nl)},${bit(rap)},${rh ?? 0}`)]
    case 'suback': case 'unsuback':
      return [`id=${packet.messageId}`, ...(packet.granted ?? []).map((code) => `code=${code}`)]
    case 'unsubscribe':
      return [`id=${packet.messageId}`, ...packet.unsubscriptions.map((topic) => `filter=${hex(topic)}`)]
    case 'disconnect': case 'auth':
      return [`code=${packet.reasonCode ?? 0}`]
    default:
      return []
  }
}

function said (packet, version) {
  return [packet.cmd, ...saidFields(packet, version), ...saidProperties(packet.properties)].join(' ')
}

// What their parser makes of the bytes of one packet.
function read (bytes, version) {
  const parser = mqtt.parser({ protocolVersion: version })
  const results = []
  parser.on('packet', (packet) => results.push(said(packet, version)))
  parser.on('error', (error) => results.unshift(`error: ${error.message.split('\n')[0]}`))
  try {
    const left = parser.parse(bytes)
    if (results.length === 0) return `waits with ${left} bytes`
  } catch (error) {
    return `throws: ${error.message.split('\n')[0]}`
  }
  return results[0]
}

// The packets of a file of tests/vectors, whose notation is told there.
function vectors (file) {
  const packets = []
  const text = fs.readFileSync(new URL(`../vectors/${file}.wire`, import.meta.url), 'utf8')
  for (const line of text.split('\n').map((line) => line.split(';')[0].trimEnd()).filter(Boolean)) {
    if (!line.startsWith(' ')) packets.push({ name: line.split(/ -> |:/)[0], bytes: [] })
    else {
      for (const [token] of line.matchAll(/'[^']*'|[0-9A-F]{2}/g)) {
        packets.at(-1).bytes.push(...(token[0] === "'" ? Buffer.from(token.slice(1, -1)) : [parseInt(token, 16)]))
      }
    }
  }
  return packets
}

function row (...columns) {
  console.log(columns.join('\t'))
}

// A generator that gives the same numbers everywhere (xorshift32).
let state = 0x2545f491
function random (below) {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  return (state >>> 0) % below
}
const pick = (list) => list[random(list.length)]
const maybe = (value) => (random(2) ? value : undefined)
const bytes = () => Buffer.from(Array.from({ length: random(9) }, () => random(256)))
const text = () => pick(['', 'a', 'word', 'two words', '\u00e9\u20ac\u{1f980}', '\ufeffmark', 'x'.repeat(130)])
const topic = () => pick(['a', 'a/b', '/', 'plant/1/temperature', '$SYS/load', '\u65e5/\u672c'])
const filter = () => pick(['#', '+', 'a/b', 'a/+/c', '+/#', '/', '$SYS/#', 'plant/+/temperature'])
const id = () => 1 + random(65535)

function properties (names) {
  const values = {
    payloadFormatIndicator: () => !!random(2), messageExpiryInterval: () => random(2 ** 32), contentType: text,
    responseTopic: topic, correlationData: bytes, subscriptionIdentifier: () => 1 + random(268435455),
    sessionExpiryInterval: () => random(2 ** 32), assignedClientIdentifier: text, serverKeepAlive: () => random(65536),
    authenticationMethod: () => 'SCRAM-SHA-256', authenticationData: bytes, requestProblemInformation: () => !!random(2),
    willDelayInterval: () => random(2 ** 32), requestResponseInformation: () => !!random(2), responseInformation: text,
    serverReference: text, reasonString: text, receiveMaximum: id, topicAliasMaximum: () => random(65536),
    topicAlias: id, maximumQoS: () => random(2), retainAvailable: () => !!random(2),
    userProperties: () => ({ name: text(), other: ['one', text()] }), maximumPacketSize: () => 1 + random(2 ** 31),
    wildcardSubscriptionAvailable: () => !!random(2), subscriptionIdentifiersAvailable: () => !!random(2),
    sharedSubscriptionAvailable: () => !!random(2)
  }
  const chosen = names.filter(() => random(2))
  return Object.fromEntries(chosen.map((name) => [name, values[name]()]))
}

const message = ['payloadFormatIndicator', 'messageExpiryInterval', 'contentType', 'responseTopic', 'correlationData']
const why = ['reasonString', 'userProperties']

// A random packet of this type, as their API takes it.
function packet (cmd, version) {
  const v5 = version === 5
  const having = (names) => (v5 ? { properties: properties(names) } : {})
  switch (cmd) {
    case 'connect': {
      const username = maybe(text() || 'user')
      const clientId = text() || 'client'
      return {
        cmd,
        protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
        protocolVersion: version,
        bridgeMode: !v5 && !random(4),
        clean: !!random(2),
        keepalive: random(65536),
        clientId,
        username,
        password: username === undefined ? undefined : maybe(Buffer.concat([Buffer.from('p'), bytes()])),
        will: maybe({
          topic: topic(),
          payload: bytes(),
          qos: random(3),
          retain: !!random(2),
          ...having(['willDelayInterval', ...message, 'userProperties'])
        }),
        ...having(['sessionExpiryInterval', 'receiveMaximum', 'maximumPacketSize', 'topicAliasMaximum',
          'requestResponseInformation', 'requestProblemInformation', 'userProperties', 'authenticationMethod'])
      }
    }
    case 'connack': {
      const code = pick(v5 ? [0, 0, 0x80, 0x87, 0x9d] : [0, 0, 1, 2, 3, 4, 5])
      const names = ['sessionExpiryInterval', 'receiveMaximum', 'maximumQoS', 'retainAvailable', 'maximumPacketSize',
        'assignedClientIdentifier', 'topicAliasMaximum', ...why, 'wildcardSubscriptionAvailable',
        'subscriptionIdentifiersAvailable', 'sharedSubscriptionAvailable', 'serverKeepAlive', 'responseInformation',
        'serverReference', 'authenticationMethod', 'authenticationData']
      const sessionPresent = code === 0 && version !== 3 && !!random(2)
      return { cmd, returnCode: code, reasonCode: code, sessionPresent, ...having(names) }
    }
    case 'publish': {
      const qos = random(3)
      return {
        cmd,
        topic: topic(),
        payload: bytes(),
        qos,
        dup: qos > 0 && !!random(2),
        retain: !!random(2),
        messageId: qos > 0 ? id() : undefined,
        ...having([...message, 'topicAlias', 'subscriptionIdentifier', 'userProperties'])
      }
    }
    case 'puback': case 'pubrec':
      return { cmd, messageId: id(), reasonCode: v5 ? pick([0, 0x10, 0x80, 0x99]) : undefined, ...having(why) }
    case 'pubrel': case 'pubcomp':
      return { cmd, messageId: id(), reasonCode: v5 ? pick([0, 0x92]) : undefined, ...having(why) }
    case 'subscribe': {
      const options = () => (v5 ? { nl: !!random(2), rap: !!random(2), rh: random(3) } : {})
      const subscriptions = Array.from({ length: 1 + random(4) }, () =>
        ({ topic: filter(), qos: random(3), ...options() }))
      return { cmd, messageId: id(), subscriptions, ...having(['subscriptionIdentifier', 'userProperties']) }
    }
    case 'suback': {
      const codes = v5 ? [0, 1, 2, 0x80, 0x87, 0xa2] : version === 4 ? [0, 1, 2, 0x80] : [0, 1, 2]
      return { cmd, messageId: id(), granted: Array.from({ length: 1 + random(4) }, () => pick(codes)), ...having(why) }
    }
    case 'unsubscribe':
      return {
        cmd,
        messageId: id(),
        unsubscriptions: Array.from({ length: 1 + random(4) }, filter),
        ...having(['userProperties'])
      }
    case 'unsuback': {
      const granted = v5 ? { granted: Array.from({ length: 1 + random(4) }, () => pick([0, 0x11, 0x87])) } : {}
      return { cmd, messageId: id(), ...granted, ...having(why) }
    }
    case 'disconnect':
      return { cmd, ...(v5 ? { reasonCode: pick([0, 4, 0x8b, 0x9c]) } : {}), ...having(['serverReference', ...why]) }
    case 'auth':
      return {
        cmd,
        reasonCode: pick([0, 0x18, 0x19]),
        properties: { authenticationMethod: 'SCRAM-SHA-256', ...properties(['authenticationData', ...why]) }
      }
    default:
      return { cmd }
  }
}

row('direction', 'version', 'name', 'packet', 'said')
const types = ['connect', 'connack', 'publish', 'puback', 'pubrec', 'pubrel', 'pubcomp', 'subscribe', 'suback',
  'unsubscribe', 'unsuback', 'pingreq', 'pingresp', 'disconnect', 'auth']
for (const version of [3, 4, 5]) {
  for (const cmd of types.filter((cmd) => cmd !== 'auth' || version === 5)) {
    const count = cmd.startsWith('ping') ? 1 : version === 5 ? 10 : 4
    for (let n = 1; n <= count; n++) {
      const made = packet(cmd, version)
      const bytes = mqtt.generate(made, { protocolVersion: version })
      row('theirs', versions[version], `${cmd}_${n}`, hex(bytes), said(made, version))
    }
  }
}
for (const version of [3, 4, 5]) {
  for (const { name, bytes } of vectors(versions[version])) {
    row('ours', versions[version], name, hex(bytes), read(Buffer.from(bytes), version))
  }
}
for (const version of [4, 5]) {
  for (const { name, bytes } of vectors(`refused_${versions[version]}`)) {
    row('refused', versions[version], name, hex(bytes), read(Buffer.from(bytes), version))
  }
}
