/* Holds a pod's namespaces open, reaps what dies in them, leaves when asked to. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void leave(int signal_number) { (void)signal_number; _exit(0); }

static void reap(int signal_number)
{
    (void)signal_number;
    while (waitpid(-1, 0, WNOHANG) > 0) {
    }
}

int main(void)
{
    struct sigaction action = {.sa_flags = SA_NOCLDSTOP};
    action.sa_handler = reap;
    sigaction(SIGCHLD, &action, 0);
    action.sa_handler = leave;
    sigaction(SIGINT, &action, 0);
    sigaction(SIGTERM, &action, 0);
    for (;;)
        pause();
}
