// SPDX-License-Identifier: MIT

// kcppeer - the other side: kcp-go, as far as the interoperability tests need it.
//
//	kcppeer echo    -addr HOST:PORT [options]           sends back what comes in, until killed
//	kcppeer client  -addr HOST:PORT [options]           sends, and checks what an echo sends back;
//	                                                    messages keep their bounds up to one segment
//	kcppeer many    -addr HOST:PORT [options]           sessions that each send a message now and
//	                                                    then to an echo, for the timeout
//	kcppeer write   -file F -messages N [options]       datagrams of a session of kcp-go to a file
//	kcppeer read    -file F -messages N [options]       a session of kcp-go fed from a file
//	kcppeer vectors                                     sealed datagrams and parity, as C tables
//
// A file holds datagrams, each behind its length (2 bytes, big-endian). Message i of a file has
// 1 + i*379 % 1301 bytes, byte j of which is (i*31 + j*7) % 256.
package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/klauspost/reedsolomon"
	"github.com/xtaci/kcp-go"
	"golang.org/x/crypto/pbkdf2"
)

type options struct {
	addr, crypt, key, nodelay, sizes, file             string
	data, parity, window, mtu, messages, bytes, passes int
	sessions, rate                                     int
	stream, ackNoDelay                                 bool
	conv                                               uint
	timeout                                            time.Duration
}

func fail(format string, args ...interface{}) {
	fmt.Fprintf(os.Stderr, "kcppeer: "+format+"\n", args...)
	os.Exit(1)
}

func must(err error) {
	if err != nil {
		fail("%v", err)
	}
}

func parse(args []string) *options {
	o := new(options)
	f := flag.NewFlagSet("kcppeer", flag.ExitOnError)
	f.StringVar(&o.addr, "addr", "127.0.0.1:0", "address of the server")
	f.StringVar(&o.crypt, "crypt", "nil", "nil, none, aes, aes-128, aes-192, salsa20, sm4, ...")
	f.StringVar(&o.key, "key", "it's a secrect", "pass phrase, used as kcptun uses it")
	f.IntVar(&o.data, "data", 0, "data packets of an FEC group, 0: no FEC")
	f.IntVar(&o.parity, "parity", 0, "parity packets of an FEC group")
	f.IntVar(&o.window, "window", 1024, "send and receive window, segments")
	f.IntVar(&o.mtu, "mtu", 1400, "datagram bytes at most")
	f.StringVar(&o.nodelay, "nodelay", "1,10,2,1", "nodelay,interval,resend,nc")
	f.BoolVar(&o.stream, "stream", false, "stream mode")
	f.BoolVar(&o.ackNoDelay, "acknodelay", false, "flush acknowledgements at once")
	f.StringVar(&o.sizes, "sizes", "100", "client: message sizes, used in turn")
	f.IntVar(&o.messages, "messages", 0, "client: messages to send; files: messages in them")
	f.IntVar(&o.bytes, "bytes", 0, "client: bytes to send as a stream, in place of messages")
	f.IntVar(&o.sessions, "sessions", 5000, "many: sessions")
	f.IntVar(&o.rate, "rate", 2, "many: messages a second of each")
	f.UintVar(&o.conv, "conv", 0x11223344, "files: conversation")
	f.IntVar(&o.passes, "passes", 1, "read: feed the file so often")
	f.StringVar(&o.file, "file", "", "file of datagrams")
	f.DurationVar(&o.timeout, "timeout", 60*time.Second, "client, read: give up after")
	must(f.Parse(args))
	return o
}

func kcptunKey(phrase string) []byte {
	return pbkdf2.Key([]byte(phrase), []byte("kcp-go"), 4096, 32, sha1.New)
}

func newBlock(name string, key []byte) (kcp.BlockCrypt, error) {
	switch name {
	case "nil":
		return nil, nil
	case "none":
		return kcp.NewNoneBlockCrypt(key)
	case "aes", "aes-256":
		return kcp.NewAESBlockCrypt(key)
	case "aes-128":
		return kcp.NewAESBlockCrypt(key[:16])
	case "aes-192":
		return kcp.NewAESBlockCrypt(key[:24])
	case "salsa20":
		return kcp.NewSalsa20BlockCrypt(key)
	case "sm4":
		return kcp.NewSM4BlockCrypt(key[:16])
	case "twofish":
		return kcp.NewTwofishBlockCrypt(key)
	case "blowfish":
		return kcp.NewBlowfishBlockCrypt(key)
	case "cast5":
		return kcp.NewCast5BlockCrypt(key[:16])
	case "3des":
		return kcp.NewTripleDESBlockCrypt(key[:24])
	case "xor":
		return kcp.NewSimpleXORBlockCrypt(key)
	}
	return nil, fmt.Errorf("no cipher %q", name)
}

func (o *options) block() kcp.BlockCrypt {
	block, err := newBlock(o.crypt, kcptunKey(o.key))
	must(err)
	return block
}

func (o *options) setUp(s *kcp.UDPSession) {
	var n [4]int
	for i, word := range strings.Split(o.nodelay, ",") {
		value, err := strconv.Atoi(word)
		must(err)
		n[i] = value
	}
	s.SetNoDelay(n[0], n[1], n[2], n[3])
	s.SetWindowSize(o.window, o.window)
	if !s.SetMtu(o.mtu) {
		fail("kcp-go refuses mtu %d", o.mtu)
	}
	s.SetStreamMode(o.stream)
	s.SetACKNoDelay(o.ackNoDelay)
	s.SetWriteDelay(false)
}

// --- over the network ----------------------------------------------------------------------------

func echo(o *options) {
	listener, err := kcp.ListenWithOptions(o.addr, o.block(), o.data, o.parity)
	must(err)
	_ = listener.SetReadBuffer(4 << 20)
	_ = listener.SetWriteBuffer(4 << 20)
	fmt.Printf("listening on %v\n", listener.Addr())
	for {
		session, err := listener.AcceptKCP()
		must(err)
		o.setUp(session)
		go func() {
			buffer := make([]byte, 1<<20)
			for {
				n, err := session.Read(buffer)
				if err != nil {
					return
				}
				if _, err = session.Write(buffer[:n]); err != nil {
					return
				}
			}
		}()
	}
}

func (o *options) sizeList() (sizes []int) {
	for _, word := range strings.Split(o.sizes, ",") {
		size, err := strconv.Atoi(word)
		must(err)
		sizes = append(sizes, size)
	}
	return
}

// Sends messages while it compares what comes back, each with its own pseudo-random bytes.
func exchangeMessages(o *options, s *kcp.UDPSession) (total int) {
	sizes := o.sizeList()
	largest := 0
	for _, size := range sizes {
		if size > largest {
			largest = size
		}
	}
	content := make([]byte, largest+o.messages%8192+8192)
	rand.New(rand.NewSource(1)).Read(content)
	message := func(i int) []byte { return content[i%8192 : i%8192+sizes[i%len(sizes)]] }

	go func() {
		for i := 0; i < o.messages; i++ {
			_, err := s.Write(message(i))
			must(err)
		}
	}()
	buffer := make([]byte, largest+64<<10)
	for i := 0; i < o.messages; i++ {
		// More than one segment comes back as several messages: Write of kcp-go cuts.
		length := 0
		for length < len(message(i)) {
			n, err := s.Read(buffer[length:])
			if err != nil {
				fail("message %d of %d: %v", i, o.messages, err)
			}
			length += n
		}
		if string(buffer[:length]) != string(message(i)) {
			fail("message %d came back changed: %d bytes of %d", i, length, len(message(i)))
		}
		total += length
	}
	return
}

// The bytes are those of a pattern, repeated: to make and to check them costs next to nothing. Its
// length is a prime, so that what is in the wrong place does not look right.
func exchangeBytes(o *options, s *kcp.UDPSession) int {
	const chunk, period = 64 << 10, 1000003
	pattern := make([]byte, period+chunk)
	rand.New(rand.NewSource(2)).Read(pattern[:period])
	copy(pattern[period:], pattern)
	go func() {
		for sent := 0; sent < o.bytes; {
			length := chunk
			if o.bytes-sent < length {
				length = o.bytes - sent
			}
			_, err := s.Write(pattern[sent%period:][:length])
			must(err)
			sent += length
		}
	}()
	buffer := make([]byte, chunk)
	done := 0
	for done < o.bytes {
		n, err := s.Read(buffer)
		if err != nil {
			fail("byte %d of %d: %v", done, o.bytes, err)
		}
		if string(buffer[:n]) != string(pattern[done%period:][:n]) {
			fail("bytes %d to %d came back changed", done, done+n)
		}
		done += n
	}
	return done
}

func client(o *options) {
	session, err := kcp.DialWithOptions(o.addr, o.block(), o.data, o.parity)
	must(err)
	_ = session.SetReadBuffer(4 << 20)
	_ = session.SetWriteBuffer(4 << 20)
	o.setUp(session)
	start := time.Now()
	must(session.SetDeadline(start.Add(o.timeout)))
	total := 0
	if o.bytes > 0 {
		total = exchangeBytes(o, session)
	} else {
		total = exchangeMessages(o, session)
	}
	seconds := time.Since(start).Seconds()
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	cpu := time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
	fmt.Printf("ok bytes=%d messages=%d seconds=%.3f cpu_seconds=%.3f fec_recovered=%d\n", total,
		o.messages, seconds, cpu, kcp.DefaultSnmp.FECRecovered)
}

// The sessions take turns, evenly over the second. Says "steady" when all are open and half of the
// time is left, and at the end what came back in that half.
func many(o *options) {
	var echoes int64
	message := make([]byte, o.sizeList()[0])
	sessions := make([]*kcp.UDPSession, o.sessions)
	block := o.block()
	for i := range sessions {
		session, err := kcp.DialWithOptions(o.addr, block, o.data, o.parity)
		must(err)
		o.setUp(session)
		sessions[i] = session
		go func() {
			buffer := make([]byte, 64<<10)
			for {
				if _, err := session.Read(buffer); err != nil {
					return
				}
				atomic.AddInt64(&echoes, 1)
			}
		}()
	}
	gap := time.Second / time.Duration(o.sessions*o.rate)
	start := time.Now()
	steady := int64(-1)
	for sent := 0; time.Since(start) < o.timeout; sent++ {
		if steady < 0 && time.Since(start) > o.timeout/2 {
			steady = atomic.LoadInt64(&echoes)
			fmt.Println("steady")
		}
		_, err := sessions[sent%o.sessions].Write(message)
		must(err)
		if ahead := time.Duration(sent)*gap - time.Since(start); ahead > time.Millisecond {
			time.Sleep(ahead)
		}
	}
	fmt.Printf("ok sessions=%d echoes_per_second=%.0f\n", o.sessions,
		float64(atomic.LoadInt64(&echoes)-steady)/(o.timeout/2).Seconds())
}

// --- through files -------------------------------------------------------------------------------

type address struct{}

func (address) Network() string { return "file" }
func (address) String() string  { return "file" }

// A net.PacketConn whose datagrams go to a channel, and to a file when there is one.
type pipe struct {
	in, out chan []byte
	closed  chan struct{}
	once    sync.Once
	record  io.Writer
}

func (p *pipe) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case datagram := <-p.in:
		return copy(b, datagram), address{}, nil
	case <-p.closed:
		return 0, nil, io.EOF
	}
}

func (p *pipe) WriteTo(b []byte, _ net.Addr) (int, error) {
	datagram := append([]byte(nil), b...)
	if p.record != nil {
		var length [2]byte
		binary.BigEndian.PutUint16(length[:], uint16(len(b)))
		_, err := p.record.Write(append(length[:], datagram...))
		must(err)
	}
	select {
	case p.out <- datagram:
	default: // nobody reads: lost, as on any network
	}
	return len(b), nil
}

func (p *pipe) Close() error                     { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipe) LocalAddr() net.Addr              { return address{} }
func (p *pipe) SetDeadline(time.Time) error      { return nil }
func (p *pipe) SetReadDeadline(time.Time) error  { return nil }
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }

func newPipe(in, out chan []byte, record io.Writer) *pipe {
	return &pipe{in: in, out: out, closed: make(chan struct{}), record: record}
}

func (o *options) session(conn net.PacketConn) *kcp.UDPSession {
	s, err := kcp.NewConn3(uint32(o.conv), address{}, o.block(), o.data, o.parity, conn)
	must(err)
	o.setUp(s)
	must(s.SetDeadline(time.Now().Add(o.timeout)))
	return s
}

func fileMessage(i int) []byte {
	message := make([]byte, 1+i*379%1301)
	for j := range message {
		message[j] = byte(i*31 + j*7)
	}
	return message
}

func expectMessages(s *kcp.UDPSession, count int) {
	buffer := make([]byte, 64<<10)
	for i := 0; i < count; i++ {
		n, err := s.Read(buffer)
		if err != nil {
			fail("message %d of %d: %v", i, count, err)
		}
		if string(buffer[:n]) != string(fileMessage(i)) {
			fail("message %d of %d is not as it should be", i, count)
		}
	}
}

// Two sessions of kcp-go talk to each other; what the first one sends is kept.
func write(o *options) {
	file, err := os.Create(o.file)
	must(err)
	there, back := make(chan []byte, 4096), make(chan []byte, 4096)
	sender, receiver := o.session(newPipe(back, there, file)), o.session(newPipe(there, back, nil))
	go func() {
		for i := 0; i < o.messages; i++ {
			_, err := sender.Write(fileMessage(i))
			must(err)
		}
	}()
	expectMessages(receiver, o.messages)
	must(file.Sync())
}

func read(o *options) {
	file, err := os.ReadFile(o.file)
	must(err)
	in := make(chan []byte, 64)
	session := o.session(newPipe(in, make(chan []byte), nil))
	// Only now: until its window is set, kcp-go drops what does not fit into 32 segments.
	go func() {
		for pass := 0; pass < o.passes; pass++ {
			for rest := file; len(rest) > 0; {
				length := int(binary.BigEndian.Uint16(rest))
				in <- rest[2 : 2+length]
				rest = rest[2+length:]
			}
		}
	}()
	expectMessages(session, o.messages)
	fmt.Printf("ok messages=%d fec_recovered=%d\n", o.messages, kcp.DefaultSnmp.FECRecovered)
}

// --- vectors -------------------------------------------------------------------------------------

func printBytes(name string, b []byte) {
	fmt.Printf("    {\"%s\",\n     {", name)
	for i, value := range b {
		if i > 0 && i%16 == 0 {
			fmt.Printf("\n      ")
		}
		fmt.Printf("0x%02x,", value)
	}
	fmt.Printf("}},\n")
}

// 37 bytes of payload: whole blocks and a tail for every cipher.
func sealedVectors() {
	key := kcptunKey("it's a secrect")
	for _, name := range []string{"none", "aes", "aes-128", "aes-192", "salsa20", "sm4", "twofish",
		"blowfish", "cast5", "3des", "xor"} {
		packet := make([]byte, 20+37)
		for i := range packet {
			packet[i] = byte(i)
		}
		binary.LittleEndian.PutUint32(packet[16:], crc32.ChecksumIEEE(packet[20:]))
		block, err := newBlock(name, key)
		must(err)
		block.Encrypt(packet, packet)
		printBytes(name, packet)
	}
	for _, bits := range []int{128, 192, 256} {
		packet := make([]byte, 12+37)
		for i := range packet {
			packet[i] = byte(i)
		}
		block, err := aes.NewCipher(key[:bits/8])
		must(err)
		aead, err := cipher.NewGCM(block)
		must(err)
		printBytes(fmt.Sprintf("aes-%d-gcm", bits), aead.Seal(packet[:12], packet[:12], packet[12:], nil))
	}
}

// Shard i has 40 bytes: its size, then (i*31 + j*7) % 256; the sum is that of all parity.
func parityVectors() {
	for _, pair := range [][2]int{{1, 1}, {1, 2}, {2, 1}, {3, 5}, {5, 2}, {10, 3}, {12, 12}, {20, 7},
		{70, 30}, {128, 128}, {200, 56}, {255, 1}, {1, 255}} {
		code, err := reedsolomon.New(pair[0], pair[1])
		must(err)
		shards := make([][]byte, pair[0]+pair[1])
		for i := range shards {
			shards[i] = make([]byte, 40)
			for j := range shards[i] {
				shards[i][j] = byte(i*31 + j*7)
			}
			binary.LittleEndian.PutUint16(shards[i], 40)
		}
		must(code.Encode(shards))
		sum := crc32.NewIEEE()
		for _, shard := range shards[pair[0]:] {
			sum.Write(shard)
		}
		fmt.Printf("    {%d, %d, 0x%08x},\n", pair[0], pair[1], sum.Sum32())
	}
}

func main() {
	modes := map[string]func(*options){"echo": echo, "client": client, "many": many,
		"write": write, "read": read,
		"vectors": func(*options) { sealedVectors(); parityVectors() }}
	if len(os.Args) < 2 || modes[os.Args[1]] == nil {
		fail("which one: echo, client, many, write, read, vectors?")
	}
	modes[os.Args[1]](parse(os.Args[2:]))
}
