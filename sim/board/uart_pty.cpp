// The pseudo-terminal behind a simulated serial line (see uart_pty.sv).
//
// `+uart_link=` names a symbolic link to be made to the port that a host opens; without it the
// port's name is printed. `+uart_drop=<n>` loses every n-th byte from the host.

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "../harness/plusargs.h"

namespace {

int controller = -1;
int port = -1;  // kept open, so that the line outlives each host that opens it
std::string link_path;
uint64_t drop = 0, count = 0;

unsigned char arrived[4096];
ssize_t arrived_size = 0, arrived_at = 0;
std::string leaving;

// Give the host what fits; a host that does not read must not stop the board.
void flush() {
    if (leaving.empty()) return;
    const ssize_t size = write(controller, leaving.data(), leaving.size());
    if (size > 0) leaving.erase(0, size);
    if (leaving.size() > (1 << 20)) leaving.clear();
}

bool fails(const char* what) {
    std::fprintf(stderr, "uart_pty: ");
    std::perror(what);
    return false;
}

bool open_port() {
    controller = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
    if (controller < 0 || grantpt(controller) != 0 || unlockpt(controller) != 0)
        return fails("no pseudo-terminal");
    const char* name = ptsname(controller);
    port = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK);
    if (port < 0) return fails(name);
    termios settings;
    if (tcgetattr(port, &settings) != 0) return fails(name);
    cfmakeraw(&settings);
    if (tcsetattr(port, TCSANOW, &settings) != 0) return fails(name);

    drop = plusarg("uart_drop", 0, 0);
    if (const char* path = plusarg("uart_link")) {
        link_path = path;
        unlink(path);
        if (symlink(name, path) != 0) return fails(path);
    } else {
        std::printf("serial port: %s\n", name);
        std::fflush(stdout);
    }
    return true;
}

}  // namespace

extern "C" int uart_pty_open() { return open_port(); }

// The next byte from the host, or -1.
extern "C" int uart_pty_get() {
    flush();
    do {
        if (arrived_at == arrived_size) {
            arrived_at = 0;
            arrived_size = read(controller, arrived, sizeof arrived);
            if (arrived_size <= 0) return arrived_size = 0, -1;
        }
        ++arrived_at;
    } while (drop && ++count % drop == 0);
    return arrived[arrived_at - 1];
}

extern "C" void uart_pty_put(int value) { leaving.push_back(static_cast<char>(value)); }

extern "C" void uart_pty_close() {
    flush();
    if (!link_path.empty()) unlink(link_path.c_str());
}
