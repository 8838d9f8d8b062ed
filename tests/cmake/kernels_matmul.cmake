remat_test(test_kernels_matmul unit/test_kernels_matmul.c LIBS remat_kernels_host)

# The same as a machine computes that multiplies no tiles of bf16, and one that multiplies no bf16 at all.
function(remat_matmul_variant name)
  set(sources ${CMAKE_SOURCE_DIR}/kernels/matmul.c ${CMAKE_SOURCE_DIR}/kernels/matmul_dots.c)
  add_library(matmul_${name} OBJECT ${sources})
  target_compile_definitions(matmul_${name} PUBLIC K_REAL=float)
  target_compile_options(matmul_${name} PRIVATE -O3 -march=native -fno-math-errno ${ARGN})
  target_link_libraries(matmul_${name} PUBLIC OpenMP::OpenMP_C)
  remat_test(test_kernels_matmul_${name} unit/test_kernels_matmul.c $<TARGET_OBJECTS:matmul_${name}> LIBS remat_kernels_host)
endfunction()
remat_matmul_variant(vectors -DK_NO_TILES)
remat_matmul_variant(widened -DK_NO_BF16_PAIRS)

# ninja bench_products && OMP_NUM_THREADS=2 tests/bench_products [rows]
add_executable(bench_products EXCLUDE_FROM_ALL bench/bench_products.c)
target_link_libraries(bench_products PRIVATE remat_kernels_host)

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

  # ninja fidelity: what plans say against what runs say, into docs/fidelity.md; a quiet machine and half an hour.
  add_custom_target(fidelity
    COMMAND python3 ${CMAKE_CURRENT_SOURCE_DIR}/campaign/fidelity.py $<TARGET_FILE:rematc> $<TARGET_FILE:sgemm_rate>
            ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/campaign/fidelity -o ${CMAKE_SOURCE_DIR}/docs/fidelity.md
    DEPENDS rematc sgemm_rate USES_TERMINAL VERBATIM)
endif()
