remat_test(test_kernels_matmul unit/test_kernels_matmul.c LIBS remat_kernels_host)

# The yardstick of the speed benchmarks is OpenBLAS's sgemm: its OpenMP build, whose threads do not spin against
# those of our own loops. Without it there are no such benchmarks; nothing else needs it.
find_library(BENCH_OPENBLAS openblas PATHS /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/openblas-openmp
             PATH_SUFFIXES openblas-openmp)
find_path(BENCH_CBLAS cblas.h PATHS /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}/openblas-openmp
          PATH_SUFFIXES openblas-openmp openblas)
if(BENCH_OPENBLAS AND BENCH_CBLAS)
  get_filename_component(bench_openblas_folder ${BENCH_OPENBLAS} DIRECTORY)
  function(remat_bench name source)
    add_executable(${name} EXCLUDE_FROM_ALL ${source})
    target_include_directories(${name} PRIVATE ${BENCH_CBLAS})
    target_link_libraries(${name} PRIVATE ${ARGN} ${BENCH_OPENBLAS})
    target_link_options(${name} PRIVATE -Wl,-rpath,${bench_openblas_folder})
  endfunction()

  # ninja bench_kernels && OMP_NUM_THREADS=2 tests/bench_kernels: kernels against sgemm.
  remat_bench(bench_kernels bench/bench_kernels.c remat_kernels_host)

  # ninja bench_train_step: GPT-2 124M steps against sgemm; a quiet machine and about five minutes.
  remat_bench(sgemm_rate bench/sgemm.c)
  add_custom_target(bench_train_step
    COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/bench/train_step.sh $<TARGET_FILE:rematc> $<TARGET_FILE:sgemm_rate>
            ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/bench
    DEPENDS rematc sgemm_rate USES_TERMINAL VERBATIM)
endif()
