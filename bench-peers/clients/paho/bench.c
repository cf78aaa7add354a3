/* The same work with Paho C's asynchronous client: prints messages per second (or round trips), the processor time of
 * each in nanoseconds, and for round trips the 50th and the 99th percentile in microseconds.
 *
 * bench PORT publish|receive|trips QOS N */
#include <MQTTAsync.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PAYLOAD = 64, IN_FLIGHT = 1500 };

static sem_t done, room, arrived;
static int messages_left;

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void on_success(void *context, MQTTAsync_successData *data) {
    (void)data;
    sem_post(context);
}

static void on_failure(void *context, MQTTAsync_failureData *data) {
    (void)context, (void)data;
    fail("a request failed");
}

static int on_message(void *context, char *topic, int len, MQTTAsync_message *message) {
    (void)context, (void)len;
    MQTTAsync_freeMessage(&message);
    MQTTAsync_free(topic);
    if (messages_left == 0)
        sem_post(&arrived);
    else if (--messages_left == 0)
        sem_post(&done);
    return 1;
}

static double seconds(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void wait_for(sem_t *sem) {
    while (sem_wait(sem)) {
    }
}

static void send(MQTTAsync client, const char *topic, int qos) {
    static char payload[PAYLOAD];
    memset(payload, 7, PAYLOAD);
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    options.onSuccess = on_success;
    options.onFailure = on_failure;
    options.context = &room;
    if (MQTTAsync_send(client, topic, PAYLOAD, payload, qos, 0, &options) != MQTTASYNC_SUCCESS)
        fail("a message was not taken");
}

int main(int argc, char **argv) {
    if (argc != 5)
        fail("bench PORT publish|receive|trips QOS N");
    char url[64];
    snprintf(url, sizeof url, "tcp://127.0.0.1:%s", argv[1]);
    const char *mode = argv[2];
    int qos = atoi(argv[3]), n = atoi(argv[4]);
    sem_init(&done, 0, 0);
    sem_init(&arrived, 0, 0);
    sem_init(&room, 0, IN_FLIGHT);

    MQTTAsync client;
    if (MQTTAsync_create(&client, url, "paho", MQTTCLIENT_PERSISTENCE_NONE, NULL) != MQTTASYNC_SUCCESS)
        fail("no client");
    MQTTAsync_setCallbacks(client, NULL, NULL, on_message, NULL);
    MQTTAsync_connectOptions connect = MQTTAsync_connectOptions_initializer;
    connect.cleansession = 1;
    connect.keepAliveInterval = 60;
    connect.maxInflight = IN_FLIGHT;
    connect.onSuccess = on_success;
    connect.onFailure = on_failure;
    connect.context = &done;
    if (MQTTAsync_connect(client, &connect) != MQTTASYNC_SUCCESS)
        fail("not connected");
    wait_for(&done);

    int receives = strcmp(mode, "publish") != 0, trips = strcmp(mode, "trips") == 0;
    if (receives) {
        messages_left = trips ? 0 : n;
        MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
        options.onSuccess = on_success;
        options.onFailure = on_failure;
        options.context = &room;
        if (MQTTAsync_subscribe(client, trips ? "bench/trip" : "bench/receive", qos, &options))
            fail("not subscribed");
        for (int i = 0; i <= IN_FLIGHT; i++)
            wait_for(&room);
        for (int i = 0; i < IN_FLIGHT; i++)
            sem_post(&room);
        puts("ready");
        fflush(stdout);
    }
    double *times = calloc(n, sizeof *times);
    double start = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    if (trips) {
        for (int i = 0; i < n; i++) {
            double sent = seconds(CLOCK_MONOTONIC);
            wait_for(&room);
            send(client, "bench/trip", qos);
            wait_for(&arrived);
            times[i] = seconds(CLOCK_MONOTONIC) - sent;
        }
    } else if (receives) {
        wait_for(&done);
    } else {
        for (int i = 0; i < n; i++) {
            wait_for(&room);
            /* The last one is acknowledged: all before it have arrived then. */
            send(client, "bench/publish", i + 1 == n && qos == 0 ? 1 : qos);
        }
        for (int i = 0; i < IN_FLIGHT; i++)
            wait_for(&room);
    }
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    double time = seconds(CLOCK_MONOTONIC) - start;
    qsort(times, n, sizeof *times, by_size);
    printf("%.0f %.0f %.1f %.1f\n", n / time, cpu / n * 1e9, times[n / 2] * 1e6, times[n / 100 * 99] * 1e6);
    fflush(stdout);
    _Exit(0);
}
