/* nosync: put before the C library (LD_PRELOAD), takes fdatasync away. For one figure of the benchmark: what the log's durability costs. */
int fdatasync(int fd);

int fdatasync(int fd)
{
    (void)fd;
    return 0;
}
