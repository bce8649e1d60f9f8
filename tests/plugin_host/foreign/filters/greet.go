// A filter in Go against the plain ABI: headers both ways, the body of a response, an answer.
package main

import (
	"strings"
	"unsafe"
)

const (
	requestHeaders  = 0
	responseHeaders = 2
	responseBody    = 1
	pluginConfig    = 7
	goOn            = 0
	pause           = 1
)

//go:wasmimport env proxy_log
func proxyLog(level uint32, text unsafe.Pointer, length uint32) uint32

//go:wasmimport env proxy_get_header_map_value
func getHeader(which uint32, name unsafe.Pointer, nameLength uint32, at, length unsafe.Pointer) uint32

//go:wasmimport env proxy_add_header_map_value
func addHeader(which uint32, name unsafe.Pointer, nameLength uint32, value unsafe.Pointer, valueLength uint32) uint32

//go:wasmimport env proxy_get_buffer_bytes
func getBuffer(which, start, most uint32, at, length unsafe.Pointer) uint32

//go:wasmimport env proxy_set_buffer_bytes
func setBuffer(which, start, size uint32, data unsafe.Pointer, length uint32) uint32

//go:wasmimport env proxy_send_local_response
func respond(status uint32, details unsafe.Pointer, detailsLength uint32, body unsafe.Pointer, bodyLength uint32, fields unsafe.Pointer, fieldsLength uint32, grpc uint32) uint32

// What the host was given to write into is kept until the next callback.
var given = map[*byte][]byte{}

var greeting string

func main() {}

func pointer(text string) unsafe.Pointer { return unsafe.Pointer(unsafe.StringData(text)) }

func say(text string) { proxyLog(2, pointer(text), uint32(len(text))) }

func read(call func(at, length unsafe.Pointer) uint32) string {
	var at, length uint32
	if call(unsafe.Pointer(&at), unsafe.Pointer(&length)) != 0 || length == 0 {
		return ""
	}
	text := string(unsafe.Slice((*byte)(unsafe.Pointer(uintptr(at))), length))
	clear(given)
	return text
}

func header(which uint32, name string) string {
	return read(func(at, length unsafe.Pointer) uint32 {
		return getHeader(which, pointer(name), uint32(len(name)), at, length)
	})
}

func add(which uint32, name, value string) {
	addHeader(which, pointer(name), uint32(len(name)), pointer(value), uint32(len(value)))
}

func buffer(which, size uint32) string {
	return read(func(at, length unsafe.Pointer) uint32 { return getBuffer(which, 0, size, at, length) })
}

//go:wasmexport proxy_abi_version_0_2_1
func version() {}

//go:wasmexport proxy_on_memory_allocate
func allocate(size uint32) unsafe.Pointer {
	data := make([]byte, size)
	given[&data[0]] = data
	return unsafe.Pointer(&data[0])
}

//go:wasmexport proxy_on_configure
func onConfigure(context, size uint32) uint32 {
	greeting = buffer(pluginConfig, size)
	say("configured with " + greeting)
	return 1
}

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(context, count, ended uint32) uint32 {
	if header(requestHeaders, ":path") == "/closed" {
		body := "not today\n"
		respond(403, nil, 0, pointer(body), uint32(len(body)), nil, 0, 0xffffffff)
		return pause
	}
	add(requestHeaders, "x-greeting", greeting)
	return goOn
}

//go:wasmexport proxy_on_response_headers
func onResponseHeaders(context, count, ended uint32) uint32 {
	add(responseHeaders, "x-seen", header(responseHeaders, ":status"))
	return goOn
}

//go:wasmexport proxy_on_response_body
func onResponseBody(context, size, ended uint32) uint32 {
	if ended == 0 {
		return pause
	}
	body := strings.ToUpper(buffer(responseBody, size))
	setBuffer(responseBody, 0, size, pointer(body), uint32(len(body)))
	return goOn
}
