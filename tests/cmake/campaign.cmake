# Long attempts to break the compiler and the trainer: targets, never part of ctest. tests/campaign/ has them.
set(campaign ${CMAKE_CURRENT_SOURCE_DIR}/campaign)
# libFuzzer, REMAT_FUZZ_SECONDS (600) for each harness, with clang in a build folder of its own.
add_custom_target(fuzz COMMAND sh ${campaign}/fuzz.sh ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/fuzz USES_TERMINAL VERBATIM)

# What each technique of planner/effort.def buys: builds of rematc of its own, in REMAT_ABLATION_DATA's folders too.
set(REMAT_ABLATION_DATA "" CACHE STRING "Folders of DAGs and tables of buffers that `ninja ablation` goes through")
add_custom_target(ablation COMMAND sh ${campaign}/ablation.sh ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/ablation
                  ${REMAT_ABLATION_DATA} USES_TERMINAL VERBATIM)

# campaign(name script helper...): a script with the compiler, the sources, a folder to work in and helpers' paths.
function(campaign name script)
  set(paths "")
  foreach(helper ${ARGN})
    list(APPEND paths $<TARGET_FILE:${helper}>)
  endforeach()
  add_custom_target(${name} COMMAND sh ${campaign}/${script}.sh $<TARGET_FILE:rematc> ${CMAKE_SOURCE_DIR}
                    ${CMAKE_BINARY_DIR}/campaign/${script} ${paths} DEPENDS rematc ${ARGN} USES_TERMINAL VERBATIM)
endfunction()

# REMAT_PYTHON: a Python that has torch, transformers, safetensors, peft, bitsandbytes and trl; for pages, selenium.
set(REMAT_PYTHON python3 CACHE STRING "Python with torch, transformers, safetensors, peft, bitsandbytes, trl and selenium, for campaigns")
# Files of weights against the libraries that define them; in a build with REMAT_SANITIZE, watched.
add_executable(readers ${campaign}/readers.c ${campaign}/fuzz/exits.c ${campaign}/fuzz/folder.c)
target_include_directories(readers PRIVATE ${CMAKE_SOURCE_DIR})
target_link_libraries(readers PRIVATE remat_frontend remat_runtime)
# what --wrap calls has no prototype
set_source_files_properties(${campaign}/fuzz/exits.c PROPERTIES COMPILE_OPTIONS "-Wno-missing-prototypes")
set(wrapped exit malloc calloc realloc free open openat close opendir closedir mmap munmap)
list(TRANSFORM wrapped PREPEND "-Wl,--wrap=")
target_link_options(readers PRIVATE ${wrapped})
add_custom_target(weight_files COMMAND ${REMAT_PYTHON} ${campaign}/weight_files.py $<TARGET_FILE:readers>
                  ${CMAKE_SOURCE_DIR}/tests/cases/weights DEPENDS readers USES_TERMINAL VERBATIM)

# Chat templates against transformers, which runs them.
find_package(PkgConfig REQUIRED)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
add_executable(chats ${campaign}/chats.c)
target_include_directories(chats PRIVATE ${CMAKE_SOURCE_DIR})
target_link_libraries(chats PRIVATE remat_text PkgConfig::JANSSON)
add_custom_target(chat_templates COMMAND ${REMAT_PYTHON} ${campaign}/chats.py $<TARGET_FILE:chats>
                  ${CMAKE_SOURCE_DIR}/tests/cases/chat ${CMAKE_BINARY_DIR}/campaign/chats
                  DEPENDS chats USES_TERMINAL VERBATIM)
# Tokenizers against the library that defines them.
add_executable(tokenize ${campaign}/tokenize.c)
target_link_libraries(tokenize PRIVATE remat_text)
add_custom_target(tokenizer_files COMMAND ${REMAT_PYTHON} ${campaign}/tokenizer_files.py $<TARGET_FILE:tokenize>
                  ${CMAKE_BINARY_DIR}/campaign/tokenizer_files DEPENDS tokenize USES_TERMINAL VERBATIM)

# Also for a build with REMAT_SANITIZE_THREADS.
if(TARGET rematc)
  add_custom_target(same_threads COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/threads.sh $<TARGET_FILE:rematc>
                    ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/campaign/same_threads all DEPENDS rematc USES_TERMINAL VERBATIM)
endif()

# What is watched here is the program as it is used: sanitizers have allocations and signals of their own.
if(TARGET rematc AND NOT REMAT_SANITIZE)
  campaign(kill_campaign kill)
  campaign(kill_tune_campaign kill_tune)
  add_executable(damage ${campaign}/damage.c)
  campaign(damage_campaign damage damage)
  campaign(valgrind valgrind)
  campaign(adapters_campaign adapters)
  campaign(longest_contexts longest)
  add_custom_target(published COMMAND ${REMAT_PYTHON} ${campaign}/published.py $<TARGET_FILE:rematc>
                    ${CMAKE_BINARY_DIR}/campaign/published DEPENDS rematc USES_TERMINAL VERBATIM)
  add_custom_target(published_plans COMMAND ${REMAT_PYTHON} ${campaign}/published_plans.py $<TARGET_FILE:rematc>
                    ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/campaign/published_plans DEPENDS rematc USES_TERMINAL VERBATIM)
  add_custom_target(report_pages COMMAND ${REMAT_PYTHON} ${campaign}/report.py $<TARGET_FILE:rematc> ${CMAKE_SOURCE_DIR}
                    ${CMAKE_BINARY_DIR}/campaign/report DEPENDS rematc USES_TERMINAL VERBATIM)
  add_custom_target(exported COMMAND ${REMAT_PYTHON} ${campaign}/exported.py $<TARGET_FILE:rematc>
                    ${CMAKE_BINARY_DIR}/campaign/exported DEPENDS rematc USES_TERMINAL VERBATIM)
  add_custom_target(lines COMMAND ${REMAT_PYTHON} ${campaign}/lines.py $<TARGET_FILE:rematc>
                    ${CMAKE_SOURCE_DIR}/tests/cases/tokenizer ${CMAKE_BINARY_DIR}/campaign/lines DEPENDS rematc
                    USES_TERMINAL VERBATIM)
  add_custom_target(chat_model COMMAND ${REMAT_PYTHON} ${campaign}/chat_model.py $<TARGET_FILE:rematc>
                    ${CMAKE_BINARY_DIR}/campaign/chat_model ${CMAKE_SOURCE_DIR}/tests/cases/chat/qwen2_5.jinja
                    DEPENDS rematc USES_TERMINAL VERBATIM)
  if(CMAKE_SYSTEM_NAME STREQUAL "Linux" AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    add_library(fail_shim MODULE ${campaign}/fail_shim.c)
    target_link_libraries(fail_shim PRIVATE ${CMAKE_DL_LIBS})
    campaign(fail_trainer fail_trainer fail_shim)
    campaign(fail_compiler fail_compiler fail_shim)
  endif()
endif()
