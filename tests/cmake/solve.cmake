# The verb solve: its JSON, its schedules against exhaustive search, its answers on the command line.
remat_test(test_solve unit/test_solve.c support/brute.c ${reference_dags} LIBS remat_planner)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
target_link_libraries(test_solve PRIVATE PkgConfig::JANSSON)
target_compile_definitions(test_solve PRIVATE SOURCE_DIR="${CMAKE_SOURCE_DIR}")
add_custom_target(random_dags COMMAND ${CMAKE_COMMAND} -E env REMAT_GRAPHS=10000 $<TARGET_FILE:test_solve>
                  DEPENDS test_solve USES_TERMINAL)

# ninja bench_planner && tests/bench_planner FOLDER: the tables of the planner.
add_executable(bench_planner EXCLUDE_FROM_ALL bench/planner.c ${CMAKE_SOURCE_DIR}/frontend/verbs/nodelink.c)
target_include_directories(bench_planner PRIVATE ${CMAKE_SOURCE_DIR})
target_link_libraries(bench_planner PRIVATE remat_planner PkgConfig::JANSSON)

add_test(NAME pipeline_solve COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/solve.sh $<TARGET_FILE:rematc>
         ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/pipeline/solve)
