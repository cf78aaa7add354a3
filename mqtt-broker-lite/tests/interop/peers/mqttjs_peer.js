// A client of MQTT.js, driven by lines: see `peer.rs` for what they say.

const fs = require('fs')
const mqtt = require('mqtt')

const args = Object.fromEntries(process.argv.slice(2).map((argument) => {
  const at = argument.indexOf('=')
  return [argument.slice(0, at), argument.slice(at + 1)]
}))
const say = (...words) => fs.writeSync(1, words.join('\t') + '\n')
// With a key it speaks TLS whatever the URL says.
const file = (name) => (/^(mqtts|wss):/.test(args.url) ? fs.readFileSync(args[name]) : undefined)
const isV5 = args.version === '5'

const options = {
  clientId: args.id,
  clean: args.clean === '1',
  protocolVersion: Number(args.version),
  protocolId: args.version === '3' ? 'MQIsdp' : 'MQTT',
  reconnectPeriod: 0,
  ca: file('ca'),
  cert: file('cert'),
  key: file('key')
}
if (isV5) options.properties = { sessionExpiryInterval: Number(args.expiry) }
if (args.will) options.will = { topic: args.will, payload: 'gone', qos: 1, retain: false }

const client = mqtt.connect(args.url, options)
client.on('connect', (connack) => say('connected', Number(connack.sessionPresent)))
client.on('error', (error) => say('refused', error.message))
client.on('message', (topic, payload, packet) => say('message', topic, packet.qos, Number(packet.retain), payload))

require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const [command, ...words] = line.split('\t')
  if (command === 'subscribe') {
    client.subscribe(words[0], { qos: Number(words[1]) }, (error, granted) => say('subscribed', error || granted[0].qos))
  } else if (command === 'publish') {
    const how = { qos: Number(words[1]), retain: words[2] === '1' }
    client.publish(words[0], words[3], how, (error) => say(error ? 'failed' : 'published', error || ''))
  } else if (command === 'disconnect') {
    client.end(false, () => {
      say('disconnected')
      process.exit(0)
    })
  }
})
