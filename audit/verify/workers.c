/* A ring of signatures: filled and judged by the caller in order, verified by whoever comes first. */
#include "audit/verify/workers.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define RING 1024
#define MESSAGE_MAX (256u << 10)
#define WAKE_EVERY 16  /* works: a thread is woken for several, not for each */

struct thread {
    struct workers *workers;
    unsigned number;
    pthread_t id;
};

struct workers {
    struct work ring[RING];
    bool done[RING];
    uint64_t added, taken, judged; /* counts; ring index = count % RING */
    bool stop;
    pthread_mutex_t lock;
    pthread_cond_t work, result;
    struct thread thread[PUBKEY_THREADS]; /* the first one is the caller */
    unsigned n_threads;
    void (*tell)(void *ctx, const struct work *w);
    void *ctx;
};

/* Takes the next one and verifies it; the lock is held before and after. */
static void take(struct workers *w, unsigned thread)
{
    uint64_t n = w->taken++;
    struct work *one = &w->ring[n % RING];

    pthread_mutex_unlock(&w->lock);
    one->good = pubkey_verify(one->key, thread, buf_span(&one->message), buf_span(&one->signature));
    pthread_mutex_lock(&w->lock);
    w->done[n % RING] = true;
    if (n == w->judged)
        pthread_cond_signal(&w->result);
}

static void *work(void *arg)
{
    const struct thread *t = arg;
    struct workers *w = t->workers;

    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        if (w->taken < w->added)
            take(w, t->number);
        else
            pthread_cond_wait(&w->work, &w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

struct workers *workers_start(void (*judged)(void *ctx, const struct work *w), void *ctx)
{
    struct workers *w = calloc(1, sizeof *w);
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    if (!w)
        return NULL;
    w->tell = judged;
    w->ctx = ctx;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work, NULL);
    pthread_cond_init(&w->result, NULL);
    for (size_t n = 0; n < RING; n++) {
        w->ring[n].message = BUF_INIT(MESSAGE_MAX);
        w->ring[n].signature = BUF_INIT(MESSAGE_MAX);
    }
    /* The caller is one of them. Where no other can be made it is the only one. */
    for (w->n_threads = 1; w->n_threads < (unsigned long)processors && w->n_threads < PUBKEY_THREADS; w->n_threads++) {
        struct thread *t = &w->thread[w->n_threads];

        *t = (struct thread){.workers = w, .number = w->n_threads};
        if (pthread_create(&t->id, NULL, work, t))
            break;
    }
    return w;
}

/* Judges the oldest one, which the caller verifies itself or waits for. The lock is held. */
static void judge(struct workers *w)
{
    size_t at = w->judged % RING;

    while (!w->done[at]) {
        if (w->taken < w->added)
            take(w, 0);
        else
            pthread_cond_wait(&w->result, &w->lock);
    }
    w->done[at] = false;
    w->judged++;
    pthread_mutex_unlock(&w->lock);
    w->tell(w->ctx, &w->ring[at]);
    pthread_mutex_lock(&w->lock);
}

struct work *workers_next(struct workers *w)
{
    struct work *next = &w->ring[w->added % RING];

    pthread_mutex_lock(&w->lock);
    while (w->added - w->judged == RING)
        judge(w);
    pthread_mutex_unlock(&w->lock);
    buf_clear(&next->message);
    buf_clear(&next->signature);
    return next;
}

void workers_add(struct workers *w)
{
    pthread_mutex_lock(&w->lock);
    w->added++;
    if (w->added % WAKE_EVERY == 0)
        pthread_cond_broadcast(&w->work);
    pthread_mutex_unlock(&w->lock);
}

void workers_finish(struct workers *w)
{
    pthread_mutex_lock(&w->lock);
    pthread_cond_broadcast(&w->work);
    while (w->judged < w->added)
        judge(w);
    pthread_mutex_unlock(&w->lock);
}

void workers_free(struct workers *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->work);
    pthread_mutex_unlock(&w->lock);
    for (unsigned n = 1; n < w->n_threads; n++)
        pthread_join(w->thread[n].id, NULL);
    for (size_t n = 0; n < RING; n++) {
        buf_free(&w->ring[n].message);
        buf_free(&w->ring[n].signature);
    }
    pthread_cond_destroy(&w->result);
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
